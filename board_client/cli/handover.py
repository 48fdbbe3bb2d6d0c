"""Commands of the server: `board` replaces itself with a module of the server."""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from board_client.cli.failure import Failure
from board_client.cli.settings import Settings

# The package board_server is always installed; the extra [server] installs what it imports.
_NEEDED = (
    *("board_server", "apsw", "cryptography", "grpc_health", "grpc_reflection"),
    *("prometheus_client", "structlog", "uvloop"),
)


def hand_over(app: typer.Typer, name: str, module: str, *first: str, summary: str) -> None:
    """Add a command that runs a module of the server with `first` and all other arguments."""

    def replace(
        ctx: typer.Context,
        arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGUMENTS")] = None,
    ) -> None:
        _become(ctx.obj, module, [*first, *_with_json(arguments or [], ctx.obj)])

    as_they_come: dict[str, Any] = {
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    }
    command: Callable[..., Any] = app.command(
        name, context_settings=as_they_come, add_help_option=False, help=summary
    )
    command(replace)


def _with_json(arguments: list[str], given: Settings) -> list[str]:
    """Pass on a `--json` that stands before the command."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:end], *["--json"] * given.json, *arguments[end:]]


def _become(given: Settings, module: str, arguments: list[str]) -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise Failure(
            "the server is not installed; pip install 'quasar-board[server]' "
            f"(not found: {', '.join(missing)})"
        )
    if given.board:
        os.environ["BOARD_NAME"] = given.board
    # -P: a file in the current directory must not stand in for a module.
    os.execv(  # noqa: S606  signals go to the server: it is this process
        sys.executable, [sys.executable, "-P", "-m", module, *arguments]
    )
