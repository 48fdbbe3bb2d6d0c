"""The command's options, and where each of its subcommands is."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from board_client.cli.archive import archive
from board_client.cli.boards import list_boards, open_board
from board_client.cli.claim import claim, claims, owner, release
from board_client.cli.complete import complete
from board_client.cli.contract import contract
from board_client.cli.handover import handed_over
from board_client.cli.load import load
from board_client.cli.output import print_line
from board_client.cli.phase import phase
from board_client.cli.run import run
from board_client.cli.session import session
from board_client.cli.settings import OWN_SESSION, Access, Json, Settings
from board_client.cli.snapshot import snapshot
from board_client.cli.status import status
from board_client.cli.top import top
from board_client.cli.wait import wait
from board_client.cli.watch import watch

EXIT_CODES = (
    "Exit codes: 0 success; 1 an error not named here; 2 wrong usage or bad input; "
    "3 a claim was refused; 4 the board cannot be reached, cannot serve now or gave no "
    "answer in time; 5 the phase was not in the expected state, or another session runs it; "
    "6 the session has ended; 7 `wait` was not met in time; 8 `contract conflicts "
    "--exit-code` found some; 9 the token or certificate does not do. `run` exits as its "
    "command does."
)

app = typer.Typer(
    no_args_is_help=True,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  no other command pays for it

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


def _file(variable: str, told: str) -> Any:
    """Return the option of a file that says who calls, or whom to trust."""
    return typer.Option(
        envvar=variable,
        metavar="FILE",
        help=told,
        show_default=False,
        rich_help_panel="Access",
    )


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
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            envvar="BOARD_TLS",
            help="Encrypt, and trust the CAs that this machine trusts.",
            rich_help_panel="Access",
        ),
    ] = False,
    tls_ca: Annotated[Path | None, _file("BOARD_TLS_CA", "Trust these CAs instead, PEM.")] = None,
    tls_cert: Annotated[
        Path | None, _file("BOARD_TLS_CERT", "The client's certificate, PEM; needs --tls-key.")
    ] = None,
    tls_key: Annotated[Path | None, _file("BOARD_TLS_KEY", "Key of the certificate, PEM.")] = None,
    token_file: Annotated[
        Path | None,
        _file("BOARD_TOKEN_FILE", "File with the token; a token itself goes into BOARD_TOKEN."),
    ] = None,
    json: Json = False,
    version: Annotated[  # noqa: ARG001  its callback does the work
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Phases, contracts and file claims that a dispatcher and its workers share."""
    access = Access(tls, tls_ca, tls_cert, tls_key, token_file)
    ctx.obj = Settings(target, board, timeout, session, json, access)


handed_over(app, "serve", "board_server", told="Serve the boards of a directory.")
handed_over(app, "token", "board_server.auth", told="Make, list and revoke access tokens.")
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
app.command()(archive)
for name, told in {
    "backup": "Copy a board to a file, or every board, while they are served or not.",
    "restore": "Make a board of a backup.",
    "compact": "Drop old events of a board, and give free pages back to the disk.",
    "doctor": "Examine board files, and say what to do.",
}.items():
    handed_over(app, name, "board_server.sqlite.maintenance", name, told=told)
