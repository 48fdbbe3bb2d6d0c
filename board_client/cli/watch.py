"""`board watch`: a line for each event, as it happens."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Annotated

import typer

from board_client.cli.connection import connect_board
from board_client.cli.event_line import happened
from board_client.cli.output import Stream, rfc3339
from board_client.cli.reader import end_with_the_reader
from board_client.cli.settings import Settings, settings
from board_client.model import Event, EventKind

_KINDS = [kind.value for kind in EventKind]


def watch(
    ctx: typer.Context,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            autocompletion=lambda: _KINDS,
            help=f"Print only {', '.join(_KINDS)} events; may be given several times.",
        ),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            metavar="REVISION",
            max=2**63 - 1,
            help="Start with the events after this revision; without it, with new events.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after this many events.")
    ] = None,
) -> Stream:
    """Print each event as it happens.

    A line has time, revision, cause, change and the record; with --json it is an object.
    The watch resumes when the server restarts; it stops at Ctrl-C or when nothing reads
    its output.

    Example: board watch --kind phase --json
    """
    events = _events(settings(ctx), kind or (), after, count)
    return Stream(((event, _cells(event)) for event in events), widths=(20, 6, 15, 14, 0))


def _events(
    given: Settings, kinds: Sequence[str], after: int | None, count: int | None
) -> Iterator[Event]:
    end_with_the_reader()
    with (
        connect_board(given) as client,
        closing(
            client.watch(
                *kinds,  # type: ignore[arg-type]  # the call checks them
                after_revision=after,
            )
        ) as events,
    ):
        yield from islice(events, count)


def _cells(event: Event) -> Sequence[str]:
    return (
        *(rfc3339(event.time), str(event.revision)),
        *(event.cause, event.change, happened(event)),
    )
