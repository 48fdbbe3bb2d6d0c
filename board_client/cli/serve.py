"""`board serve`: hands over to the server, of which the client imports nothing."""

import os
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from board_client.cli.failure import Failure
from board_client.cli.settings import Settings

# The server's own package comes with the client's; what it imports is the extra.
_NEEDED = (
    *("board_server", "apsw", "grpc_health", "grpc_reflection"),
    *("prometheus_client", "structlog", "uvloop"),
)


def serve(
    ctx: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGUMENTS")] = None,
) -> None:
    """Serve the boards of a directory; `board serve --help` tells how."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise Failure(
            "the server is not installed; pip install 'quasar-board[server]' "
            f"(not found: {', '.join(missing)})"
        )
    given: Settings = ctx.obj
    if given.board:
        os.environ["BOARD_NAME"] = given.board
    # -P: a file in the current directory must not stand in for a module.
    os.execv(  # noqa: S606  this process becomes the server, and takes its signals
        sys.executable, [sys.executable, "-P", "-m", "board_server", *(arguments or ())]
    )
