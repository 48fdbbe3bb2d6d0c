"""The command's options, and where each of its subcommands is."""

import math
from importlib.metadata import version
from typing import Annotated

import typer

from board_client.cli.boards import list_boards, open_board
from board_client.cli.claim import claim, claims, owner, release
from board_client.cli.complete import complete
from board_client.cli.contract import contract
from board_client.cli.load import load
from board_client.cli.output import print_line
from board_client.cli.phase import phase
from board_client.cli.run import run
from board_client.cli.serve import serve
from board_client.cli.session import session
from board_client.cli.settings import OWN_SESSION, Json, Settings
from board_client.cli.snapshot import snapshot
from board_client.cli.status import status
from board_client.cli.top import top
from board_client.cli.wait import wait
from board_client.cli.watch import watch

EXIT_CODES = (
    "Exit codes: 0 success; 1 an error not named here; 2 wrong usage or bad input; "
    "3 a claim was refused; 4 the board cannot be reached, cannot serve now or gave no "
    "answer in time; 5 the phase was not in the expected state; 6 the session has ended; "
    "7 `wait` was not met in time; 8 `contract conflicts --exit-code` found some. `run` "
    "exits as its command does."
)

app = typer.Typer(
    no_args_is_help=True,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"board {version('quasar-board')}")
        raise typer.Exit


def _seconds(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter("must be a number of seconds above 0")
    return value


def _address(value: str) -> str:
    if not value:
        raise typer.BadParameter("must be HOST:PORT or unix:PATH")
    return value


@app.callback()
def options(
    ctx: typer.Context,
    target: Annotated[
        str,
        typer.Option(
            envvar="BOARD_TARGET",
            metavar="ADDR",
            callback=_address,
            help="Where the board is served: HOST:PORT or unix:PATH.",
        ),
    ] = "127.0.0.1:7447",
    board: Annotated[
        str,
        typer.Option(
            envvar="BOARD_NAME",
            metavar="NAME",
            show_default=False,
            help="Name of the board; the server's default board if not given.",
        ),
    ] = "",
    timeout: Annotated[
        float,
        typer.Option(
            envvar="BOARD_TIMEOUT",
            metavar="SECONDS",
            callback=_seconds,
            help="How long each call may take, its retries included.",
        ),
    ] = 10.0,
    session: Annotated[
        str,
        typer.Option(
            "--in-session",
            envvar=OWN_SESSION,
            metavar="SESSION",
            show_default=False,
            help="ID of the session that what the command does belongs to.",
        ),
    ] = "",
    json: Json = False,
    version: Annotated[  # noqa: ARG001  its callback does the work
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Phases, contracts and file claims that a dispatcher and its workers share."""
    ctx.obj = Settings(target, board, timeout, session, json)


app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)(serve)
app.command("open")(open_board)
app.command("boards")(list_boards)
app.command()(load)
app.command()(status)
app.command()(snapshot)
app.add_typer(phase)
app.add_typer(contract)
app.command()(claim)
app.command()(release)
app.command()(owner)
app.command()(claims)
app.command(context_settings={"allow_interspersed_args": False})(run)
app.command()(complete)
app.command()(wait)
app.command()(watch)
app.command()(top)
app.add_typer(session)
