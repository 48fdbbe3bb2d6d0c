"""`board snapshot`: the board as Markdown, for the prompt of a language model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from board_client.cli.budget import BudgetTooSmallError
from board_client.cli.completion import complete_phase
from board_client.cli.connection import connect_board
from board_client.cli.contradictions import contradictions
from board_client.cli.digest import Digest, changed, whole
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.nebula import needed_by, read_nebula
from board_client.cli.output import Answer, fields_of
from board_client.cli.prompt import prompt
from board_client.cli.settings import settings
from board_client.model import Event, Snapshot

if TYPE_CHECKING:
    from board_client.sync import BoardClient


def snapshot(
    ctx: typer.Context,
    budget: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            min=1,
            help="Print at most this many tokens, estimated as 4 bytes each; phases that run, "
            "are blocked or have failed come first.",
        ),
    ] = None,
    phase: Annotated[
        str,
        typer.Option(
            metavar="PHASE",
            autocompletion=complete_phase,
            help="Put everything about this phase first.",
        ),
    ] = "",
    nebula: Annotated[
        Path | None,
        typer.Option(metavar="NEBULA_DIR", help="Read from this plan which phases it depends on."),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(metavar="REVISION", help="Print only what has changed since this revision."),
    ] = None,
) -> Answer:
    """Print the board as Markdown, for the prompt of a language model.

    It has phases by state, contracts by package, contradictions and claims. Boards
    with equal content give equal bytes, for it has no IDs, revisions or times. The JSON
    has the revision, for --since, exact values, and the Markdown.

    Example: board snapshot --budget 4000 --phase poll-prompt --nebula .nebulas/contract-board
    """
    needed = _needed(nebula, phase)
    with connect_board(settings(ctx)) as client:
        board = client.get_snapshot()
        events = None if since is None else _events(client, since, board)
    digest = whole(board) if events is None else changed(board, events)
    text = _within(budget, replace(digest, phase=phase, needed=needed))
    return Answer(_record(board, events) | {"markdown": text}, text.removesuffix("\n"))


def _needed(directory: Path | None, phase_id: str) -> Sequence[str]:
    """Return the phases that the nebula in a directory says one depends on."""
    if directory is None:
        return ()
    if not phase_id:
        raise typer.BadParameter("needs --phase", param_hint="--nebula")
    try:
        return needed_by(read_nebula(directory), phase_id)
    except KeyError:
        why = f'the nebula in {directory} has no phase "{phase_id}"'
        raise Failure(why, ExitCode.BAD_INPUT) from None


def _events(client: "BoardClient", since: int, board: Snapshot) -> Sequence[Event]:
    if since > board.revision:
        raise Failure(
            f"--since {since} is in the future: the board is at revision {board.revision}",
            ExitCode.BAD_INPUT,
        )
    return client.events(since, board.revision)


def _within(budget: int | None, digest: Digest) -> str:
    try:
        return prompt(digest, budget)
    except BudgetTooSmallError as error:
        raise Failure(f"--budget {budget} is too small: {error}", ExitCode.BAD_INPUT) from error


def _record(board: Snapshot, events: Sequence[Event] | None) -> dict[str, object]:
    if events is not None:
        return {"revision": board.revision, "events": events}
    return fields_of(board) | {"contradictions": contradictions(board.contracts)}
