"""`board snapshot`: the board as Markdown, for the prompt of a language model."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from board_client.cli.budget import BudgetTooSmallError
from board_client.cli.connection import connect
from board_client.cli.contradictions import contradictions
from board_client.cli.digest import Digest, changed, whole
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.nebula import needed_by, read_nebula
from board_client.cli.output import print_json, print_line
from board_client.cli.prompt import prompt
from board_client.cli.settings import Json, settings
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
            help="Take no more tokens than this, of an estimated 4 bytes each; phases that run, "
            "are blocked or have failed are shown first.",
        ),
    ] = None,
    phase: Annotated[
        str,
        typer.Option(metavar="PHASE", help="Show first what concerns this phase, whole."),
    ] = "",
    nebula: Annotated[
        Path | None,
        typer.Option(metavar="NEBULA_DIR", help="The plan that says what the phase depends on."),
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(metavar="REVISION", help="Only what has changed since this revision."),
    ] = None,
    json: Json = False,
) -> None:
    """Print the board as Markdown, for the prompt of a language model.

    Phases by state, contracts by package, contradictions, claims. Boards with
    equal content give equal bytes: no id, revision or time is in it. The JSON
    has the revision, for --since, and exact values, and the Markdown too.

    Example: board snapshot --budget 4000 --phase poll-prompt --nebula .nebulas/contract-board
    """
    given = settings(ctx, json)
    needed = _needed(nebula, phase)
    with connect(given) as client:
        board = client.get_snapshot()
        events = None if since is None else _events(client, since, board)
    digest = whole(board) if events is None else changed(board, events)
    text = _within(budget, replace(digest, phase=phase, needed=needed))
    if given.json:
        print_json(_record(board, events) | {"markdown": text})
    else:
        print_line(text.removesuffix("\n"))


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
        return {"revision": board.revision, "events": [asdict(event) for event in events]}
    return asdict(board) | {
        "contradictions": [asdict(each) for each in contradictions(board.contracts)]
    }
