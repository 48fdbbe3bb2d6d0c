"""`board watch`: a line for each event, as it happens."""

from contextlib import closing
from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from board_client.cli.connection import connect
from board_client.cli.event_line import happened
from board_client.cli.output import print_json, print_row, rfc3339
from board_client.cli.reader import end_with_the_reader
from board_client.cli.settings import Json, settings
from board_client.model import EventKind

_KINDS = [kind.value for kind in EventKind]


def watch(
    ctx: typer.Context,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            autocompletion=lambda: _KINDS,
            help=f"Only {', '.join(_KINDS)} events; may be given several times.",
        ),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(
            metavar="REVISION",
            max=2**63 - 1,
            help="Begin with what happened after this revision, not with now.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="End after so many events.")
    ] = None,
    json: Json = False,
) -> None:
    """Print each event as it happens: time, revision, cause, change, and what it is about.

    With --json each is an object on a line of its own. It goes on, over
    restarts of the server too, until Ctrl-C or until nobody reads it.

    Example: board watch --kind phase --json
    """
    given = settings(ctx, json)
    end_with_the_reader()
    with (
        connect(given) as client,
        closing(client.watch(*(kind or ()), after_revision=after)) as events,
    ):
        for event in islice(events, count):
            if given.json:
                print_json(asdict(event), indent=None)
            else:
                print_row(
                    [
                        *(rfc3339(event.time), str(event.revision)),
                        *(event.cause, event.change, happened(event)),
                    ],
                    widths=(20, 6, 15, 14, 0),
                )
