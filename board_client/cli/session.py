"""`board session`: which workers live."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from board_client.cli.connection import connect
from board_client.cli.duration import written
from board_client.cli.output import Column, plural, print_json, print_line, print_table
from board_client.cli.settings import Json, settings
from board_client.cli.visible import visible

session = typer.Typer(
    name="session", no_args_is_help=True, help="List the workers' sessions, or end one."
)


@session.command("list")
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the sessions that live, and when each ends unless it is renewed."""
    given = settings(ctx, json)
    with connect(given) as client:
        found = client.list_sessions()
    if given.json:
        print_json([asdict(each) for each in found])
    else:
        now = datetime.now(UTC)
        print_table(
            [
                *(Column("session"), Column("worker"), Column("ttl", right=True)),
                *(Column("ends in", right=True), Column("then its phases")),
            ],
            [
                (
                    *(each.session_id, each.worker, written(each.ttl)),
                    *(written(each.expires_at - now), each.on_expiry),
                )
                for each in found
            ],
        )


@session.command()
def close(
    ctx: typer.Context,
    session_id: Annotated[str, typer.Argument(metavar="SESSION", help="Its ID.")],
    json: Json = False,
) -> None:
    """End a session now: its files are released, its running phases failed or queued again."""
    given = settings(ctx, json)
    with connect(given) as client:
        released = client.close_session(session_id)
    if given.json:
        print_json({"released": released})
    else:
        print_line(f"session {visible(session_id)} is closed, {plural(released, 'file')} released")
