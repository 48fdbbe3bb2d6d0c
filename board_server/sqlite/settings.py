"""The settings of an SqliteStore."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from board_server.store import CaughtUp

Synchronous = Literal["full", "normal"]


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


OnCommit = Callable[[str, int, float], None]
"""Called in the writer's thread after a commit: the board, its calls, the seconds it took."""


OnClose = Callable[[str], None]
"""Called with the name of a board that was closed."""


def ignore(*_arguments: object) -> None:
    """Do nothing: the default of OnCommit and OnClose."""


async def at_once() -> None:
    """Return at once: for a store without a server, which has no unread calls."""


@dataclass(slots=True)
class Settings:
    """The settings that all boards of a store share.

    `keep_revisions` is how many revisions of events are kept, up to `keep_bytes`; outcomes of
    calls with an idempotency key may take half as many bytes. `clock` returns aware UTC.
    `max_queue` is how many writes may wait for one board's writer. `caught_up` is that of
    Store.expire_after.
    """

    synchronous: Synchronous
    keep_revisions: int
    keep_bytes: int
    clock: Clock
    max_queue: int
    on_commit: OnCommit
    on_close: OnClose
    caught_up: CaughtUp = at_once

    async def expire_after(self) -> None:
        """Wait until the server has read all calls that have arrived by now."""
        await self.caught_up()
