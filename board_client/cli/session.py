"""`board session`: the workers' sessions."""

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from board_client.cli.command_line import Command, Group
from board_client.cli.completion import complete_session
from board_client.cli.connection import connect_board
from board_client.cli.duration import duration, written
from board_client.cli.output import Answer, Column, Table, plural, rfc3339
from board_client.cli.settings import OWN_SESSION, OWN_WORKER, settings
from board_client.cli.visible import visible
from board_client.model import OnExpiry

session = typer.Typer(
    name="session", cls=Group, help="Open, renew, list and close the sessions of workers."
)

ON_EXPIRY = [word.value for word in OnExpiry if word]

Worker = Annotated[
    str,
    typer.Option(
        metavar="WORKER", envvar=OWN_WORKER, show_default="HOST-PID", help="Name of the worker."
    ),
]
Ttl = Annotated[
    timedelta,
    typer.Option(
        metavar="DURATION",
        parser=duration,
        show_default="30s",
        help="Let the session expire this long after its last renewal: 1s to 24h.",
    ),
]
Expiry = Annotated[
    str,
    typer.Option(
        metavar="WORD",
        autocompletion=lambda: ON_EXPIRY,
        help=f"What to do with running phases when the session expires: {' or '.join(ON_EXPIRY)}.",
    ),
]
SessionId = Annotated[
    str,
    typer.Argument(
        metavar="SESSION",
        envvar=OWN_SESSION,
        autocompletion=complete_session,
        help="ID of the session.",
    ),
]


def own_name() -> str:
    """Return the name of a worker that was given none."""
    return f"{socket.gethostname()}-{os.getpid()}"


@session.command("open", cls=Command)
def open_(
    ctx: typer.Context,
    worker: Worker = "",
    ttl: Ttl = timedelta(seconds=30),
    on_expiry: Expiry = OnExpiry.FAIL.value,
) -> Answer:
    """Open a session and print its ID.

    It expires unless `session renew` renews it in time.

    Example: export BOARD_SESSION=$(board session open --ttl 5m)
    """
    with connect_board(settings(ctx)) as client:
        opened = client.open_session(
            worker or own_name(),
            ttl,
            on_expiry,  # type: ignore[arg-type]  # the call checks it
        )
    return Answer(opened, opened.session_id)


@session.command(cls=Command)
def renew(ctx: typer.Context, session_id: SessionId) -> Answer:
    """Renew a session for its full ttl.

    If it has ended, exit with 6.
    """
    with connect_board(settings(ctx)) as client:
        renewed = client.renew_session(session_id)
    text = f"session {session_id} is renewed until {rfc3339(renewed.expires_at)}"
    return Answer(renewed, visible(text))


@session.command("list", cls=Command)
def list_(ctx: typer.Context) -> Answer:
    """List the sessions that live.

    Print for each the time until it expires unless it is renewed.
    """
    with connect_board(settings(ctx)) as client:
        found = client.list_sessions()
    now = datetime.now(UTC)
    columns = [
        *(Column("session"), Column("worker"), Column("ttl", right=True)),
        *(Column("ends in", right=True), Column("then its phases")),
    ]
    rows = [
        (
            *(each.session_id, each.worker, written(each.ttl)),
            *(written(each.expires_at - now), each.on_expiry),
        )
        for each in found
    ]
    return Answer(found, Table(columns, rows))


@session.command(cls=Command)
def close(
    ctx: typer.Context,
    session_id: Annotated[
        str,
        typer.Argument(
            metavar="SESSION", autocompletion=complete_session, help="ID of the session."
        ),
    ],
) -> Answer:
    """Close a session now.

    Release its files, and fail or requeue its running phases.
    """
    with connect_board(settings(ctx)) as client:
        released = client.close_session(session_id)
    text = f"session {visible(session_id)} is closed, {plural(released, 'file')} released"
    return Answer({"released": released}, text)
