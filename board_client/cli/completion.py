"""Words for the shell to complete, from the board itself: boards, phases, sessions.

A server that does not answer within a moment completes nothing, without an error.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from board_client.cli.command_line import settings_of
from board_client.cli.connection import connect, connect_board

if TYPE_CHECKING:
    from board_client.sync import BoardClient

_SECONDS = 0.5
"""The longest time that completion may take."""


def complete_board(ctx: typer.Context) -> list[str]:
    """Return the names of the server's boards."""
    return _completed(ctx, lambda client: (each.name for each in client.list_boards()), connect)


def complete_phase(ctx: typer.Context) -> list[str]:
    """Return the IDs of the board's phases."""
    return _completed(ctx, lambda client: (each.phase_id for each in client.list_phases()))


def complete_session(ctx: typer.Context) -> list[str]:
    """Return the IDs of the sessions that live."""
    return _completed(ctx, lambda client: (each.session_id for each in client.list_sessions()))


def _completed(
    ctx: typer.Context,
    ask: "Callable[[BoardClient], Iterable[str]]",
    connected: Callable[..., object] = connect_board,
) -> list[str]:
    with suppress(Exception):  # the command itself reports what is wrong
        given = replace(settings_of(ctx), timeout=_SECONDS, session="")
        with connected(given) as client:  # type: ignore[attr-defined]
            return list(ask(client))
    return []
