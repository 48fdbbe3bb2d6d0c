"""`board open` and `board boards`: which boards there are."""

from dataclasses import asdict

import typer

from board_client.cli.connection import connect
from board_client.cli.output import Column, print_json, print_line, print_table, rfc3339
from board_client.cli.settings import Json, settings
from board_client.cli.visible import visible


def open_board(ctx: typer.Context, json: Json = False) -> None:
    """Make the board that --board names, if it is absent."""
    given = settings(ctx, json)
    with connect(given) as client:
        info = client.open_board()
    if given.json:
        print_json(asdict(info))
    else:
        print_line(f"board {visible(info.name)} is open, at revision {info.revision}")


def list_boards(ctx: typer.Context, json: Json = False) -> None:
    """List the boards of the server."""
    given = settings(ctx, json)
    with connect(given) as client:
        found = client.list_boards()
    if given.json:
        print_json([asdict(info) for info in found])
    else:
        print_table(
            [Column("board"), Column("revision", right=True), Column("created")],
            [(info.name, str(info.revision), rfc3339(info.created_at)) for info in found],
        )
