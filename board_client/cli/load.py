"""`board load`: from a nebula's files to a board that has its phases."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from board_client.cli.connection import connect
from board_client.cli.failure import BadInput, Problem
from board_client.cli.nebula import board_name, read_nebula
from board_client.cli.output import plural, print_json, print_line
from board_client.cli.settings import Json, settings
from board_client.model import Phase, PhaseState

if TYPE_CHECKING:
    from board_client.sync import BoardClient

T = TypeVar("T")


class Outcome(StrEnum):
    """What loading did about a phase."""

    NEW = "new"
    KEPT = "kept"
    CHANGED = "changed"


def load(
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="NEBULA_DIR", help="Holds nebula.toml and the phases' *.md.")
    ],
    reset: Annotated[
        bool,
        typer.Option(
            "--reset", help="Queue the phases that the board knows again, without a worker."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Post the phases of a nebula that its board does not know, as queued.

    Those that it knows keep their state and worker. The board has the nebula's
    name; --board names another. If a file is wrong, nothing is posted.

    Example: board load .nebulas/contract-board
    """
    nebula = read_nebula(directory)
    given = settings(ctx, json)
    board = given.board or board_name(nebula.name)
    if not board:
        why = f'no board name can be made of "{nebula.name}"; give one with --board'
        raise BadInput([Problem(directory / "nebula.toml", 0, why)])
    # A plan is no work of the session that one may be in, which is perhaps of another board.
    with connect(replace(given, board=board, session="")) as client:
        info = client.open_board()
        loaded = [
            post(client, phase.phase_id, reset=reset)
            for phase in _progress(nebula.phases, f"Loading {board}")
        ]
    counts = Counter(outcome for _, outcome in loaded)
    if given.json:
        phases = [asdict(phase) for phase, _ in loaded]
        outcomes = {outcome.value: counts[outcome] for outcome in Outcome}
        print_json({"board": info.name} | outcomes | {"phases": phases})
    else:
        outcome_counts = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in Outcome)
        print_line(
            f"loaded {plural(len(loaded), 'phase')} onto board {info.name}: {outcome_counts}"
        )


def post(client: "BoardClient", phase_id: str, *, reset: bool) -> tuple[Phase, Outcome]:
    """Queue a phase that the board does not know; with `reset`, one that it knows too."""
    from board_client.errors import StateMismatch  # noqa: PLC0415  it imports grpc

    while True:
        known = client.get_phase(phase_id)
        if known and (not reset or (known.state, known.worker) == (PhaseState.QUEUED, "")):
            return known, Outcome.KEPT
        # A queued phase has no worker; the one of an earlier run is cleared.
        if known:
            return client.set_phase_state(phase_id, PhaseState.QUEUED, worker=""), Outcome.CHANGED
        with suppress(StateMismatch):  # somebody has posted it in the meantime: look again
            posted = client.set_phase_state(
                phase_id, PhaseState.QUEUED, worker="", expected_state=PhaseState.UNSPECIFIED
            )
            return posted, Outcome.NEW


def _progress(items: Sequence[T], title: str) -> Iterable[T]:
    if not sys.stderr.isatty():
        return items
    from rich.console import Console  # noqa: PLC0415  only terminals pay for its import
    from rich.progress import track  # noqa: PLC0415

    return track(items, title, console=Console(stderr=True), transient=True)
