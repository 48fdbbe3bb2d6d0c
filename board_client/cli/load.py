"""`board load`: from a nebula's files to a board of queued phases."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from board_client.cli.connection import connect
from board_client.cli.failure import BadInput, Problem
from board_client.cli.nebula import board_name, read_nebula
from board_client.cli.output import plural, print_json, print_line
from board_client.cli.settings import Json, settings
from board_client.model import PhaseState

T = TypeVar("T")


def load(
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="NEBULA_DIR", help="Holds nebula.toml and the phases' *.md.")
    ],
    json: Json = False,
) -> None:
    """Post every phase of a nebula as queued, on the board of the nebula's name.

    --board names another board. If a file is wrong, nothing is posted.

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
        # Nobody has a queued phase, whoever had it in an earlier run.
        posted = [
            client.set_phase_state(phase.phase_id, PhaseState.QUEUED, worker="")
            for phase in _progress(nebula.phases, f"Loading {board}")
        ]
    if given.json:
        print_json({"board": info.name, "phases": [asdict(phase) for phase in posted]})
    else:
        print_line(f"loaded {plural(len(posted), 'phase')} onto board {info.name}")


def _progress(items: Sequence[T], title: str) -> Iterable[T]:
    if not sys.stderr.isatty():
        return items
    from rich.console import Console  # noqa: PLC0415  only terminals pay for its import
    from rich.progress import track  # noqa: PLC0415

    return track(items, title, console=Console(stderr=True), transient=True)
