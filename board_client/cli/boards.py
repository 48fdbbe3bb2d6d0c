"""`board open` and `board boards`: create a board, and list them."""

import typer

from board_client.cli.connection import connect
from board_client.cli.output import Answer, Column, Table, rfc3339
from board_client.cli.settings import settings
from board_client.cli.visible import visible


def open_board(ctx: typer.Context) -> Answer:
    """Create the board that --board names, unless it exists."""
    with connect(settings(ctx)) as client:
        info = client.open_board()
    return Answer(info, f"board {visible(info.name)} is open, at revision {info.revision}")


def list_boards(ctx: typer.Context) -> Answer:
    """List the boards of the server."""
    with connect(settings(ctx)) as client:
        found = client.list_boards()
    columns = [Column("board"), Column("revision", right=True), Column("created")]
    rows = [(info.name, str(info.revision), rfc3339(info.created_at)) for info in found]
    return Answer(found, Table(columns, rows))
