"""The options of `board`, and its subcommands."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from board_client.cli.archive import archive
from board_client.cli.boards import list_boards, open_board
from board_client.cli.claim import claim, claims, owner, release
from board_client.cli.command_line import Command, Root
from board_client.cli.complete import complete
from board_client.cli.completion import complete_board, complete_session
from board_client.cli.contract import contract
from board_client.cli.duration import duration
from board_client.cli.handover import hand_over
from board_client.cli.load import load
from board_client.cli.output import print_line
from board_client.cli.phase import phase
from board_client.cli.run import run
from board_client.cli.session import session
from board_client.cli.settings import OWN_SESSION, Access, Settings, read_older_variables
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
    cls=Root,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
    # Into a pipe, help is plain text.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  no other command pays for it

        print_line(f"board {version('quasar-board')}")
        raise typer.Exit


def _address(value: str) -> str:
    if not value:
        raise typer.BadParameter("must be HOST:PORT or unix:PATH")
    return value


def _file(variable: str, summary: str) -> Any:
    """Return an option for a file of the caller's credentials, or of those to trust."""
    return typer.Option(
        envvar=variable,
        metavar="FILE",
        help=summary,
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
            help="Address of the server: HOST:PORT or unix:PATH.",
        ),
    ] = "127.0.0.1:7447",
    board: Annotated[
        str,
        typer.Option(
            envvar="BOARD_NAME",
            metavar="NAME",
            show_default=False,
            autocompletion=complete_board,
            help="Name of the board. Without it: the default board if it is in use, else the "
            "only board in use.",
        ),
    ] = "",
    timeout: Annotated[
        timedelta,
        typer.Option(
            envvar="BOARD_TIMEOUT",
            metavar="DURATION",
            parser=duration,
            show_default="10s",
            help="Time for each call, retries included: 500ms, 30s, 5m or plain seconds.",
        ),
    ] = timedelta(seconds=10),
    session: Annotated[
        str,
        typer.Option(
            "--session",
            "--in-session",
            envvar=OWN_SESSION,
            metavar="SESSION",
            show_default=False,
            autocompletion=complete_session,
            help="Run this command within session SESSION.",
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
    tls_ca: Annotated[
        Path | None, _file("BOARD_TLS_CA", "Encrypt, and trust the CAs in this PEM file.")
    ] = None,
    tls_cert: Annotated[
        Path | None, _file("BOARD_TLS_CERT", "Client certificate, PEM; needs --tls-key.")
    ] = None,
    tls_key: Annotated[
        Path | None, _file("BOARD_TLS_KEY", "Key of the client certificate, PEM.")
    ] = None,
    token_file: Annotated[
        Path | None,
        _file("BOARD_TOKEN_FILE", "File with the token; BOARD_TOKEN holds a token itself."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print results, and errors, as JSON.")
    ] = False,
    version: Annotated[  # noqa: ARG001  its callback does the work
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Share phases, contracts and file claims between a dispatcher and its workers."""
    access = Access(tls, tls_ca, tls_cert, tls_key, token_file)
    ctx.obj = Settings(target, board, timeout.total_seconds(), session, json, access)


read_older_variables()
hand_over(app, "serve", "board_server", summary="Serve the boards of a directory.")
hand_over(app, "token", "board_server.auth", summary="Make, list and revoke access tokens.")
app.command("open", cls=Command)(open_board)
app.command("boards", cls=Command)(list_boards)
app.command(cls=Command)(load)
app.command(cls=Command)(status)
app.command(cls=Command)(snapshot)
app.add_typer(phase)
app.add_typer(contract)
app.command(cls=Command)(claim)
app.command(cls=Command)(release)
app.command(cls=Command)(owner)
app.command(cls=Command)(claims)
app.command(cls=Command, context_settings={"allow_interspersed_args": False})(run)
app.command(cls=Command)(complete)
app.command(cls=Command)(wait)
app.command(cls=Command)(watch)
app.command(cls=Command)(top)
app.add_typer(session)
app.command(cls=Command)(archive)
for name, summary in {
    "backup": "Copy boards to files, while they are served or not.",
    "restore": "Make a board from a backup.",
    "compact": "Drop old events, and give free pages back to the disk.",
    "doctor": "Examine board files, and say what to do.",
}.items():
    hand_over(app, name, "board_server.sqlite.maintenance", name, summary=summary)
