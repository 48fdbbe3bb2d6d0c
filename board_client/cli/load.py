"""`board load`: post the phases of a nebula on its board."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from board_client.cli.connection import connect
from board_client.cli.failure import BadInput, Problem
from board_client.cli.nebula import board_name, read_nebula
from board_client.cli.output import Answer, plural
from board_client.cli.settings import settings
from board_client.model import Phase, PhaseState

if TYPE_CHECKING:
    from board_client.sync import BoardClient

T = TypeVar("T")


class Outcome(StrEnum):
    """What `load` did with a phase."""

    NEW = "new"
    KEPT = "kept"
    CHANGED = "changed"


def load(
    ctx: typer.Context,
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="NEBULA_DIR", help="Directory with nebula.toml and phase files *.md."
        ),
    ],
    reset: Annotated[
        bool,
        typer.Option("--reset", help="Queue phases that are on the board again, without a worker."),
    ] = False,
) -> Answer:
    """Post the phases of a nebula on its board, as queued.

    Phases that are on the board already keep their state and worker. The board gets the
    nebula's name unless --board names another. If a file is wrong, nothing is posted.

    Example: board load .nebulas/contract-board
    """
    nebula = read_nebula(directory)
    given = settings(ctx)
    board = given.board or board_name(nebula.name)
    if not board:
        why = f'no board name can be made of "{nebula.name}"; give one with --board'
        raise BadInput([Problem(directory / "nebula.toml", 0, why)])
    # In no session: the phases must outlive it, and it may belong to another board.
    with connect(replace(given, board=board, session="")) as client:
        info = client.open_board()
        loaded = [
            post(client, phase.phase_id, reset=reset)
            for phase in _progress(nebula.phases, f"Loading {board}")
        ]
    counts = Counter(outcome for _, outcome in loaded)
    outcomes = {outcome.value: counts[outcome] for outcome in Outcome}
    words = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items())
    return Answer(
        {"board": info.name} | outcomes | {"phases": [phase for phase, _ in loaded]},
        f"loaded {plural(len(loaded), 'phase')} onto board {info.name}: {words}",
    )


def post(client: "BoardClient", phase_id: str, *, reset: bool) -> tuple[Phase, Outcome]:
    """Queue a phase if it is not on the board, or if `reset` is set."""
    from board_client.errors import StateMismatch  # noqa: PLC0415  it imports grpc

    while True:
        known = client.get_phase(phase_id)
        if known and (not reset or (known.state, known.worker) == (PhaseState.QUEUED, "")):
            return known, Outcome.KEPT
        # Clear the worker of an earlier run.
        if known:
            return client.set_phase_state(phase_id, PhaseState.QUEUED, worker=""), Outcome.CHANGED
        with suppress(StateMismatch):  # another caller has just posted it: read it again
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
