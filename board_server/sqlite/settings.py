"""What an SqliteStore can be told."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from board_server.store import CaughtUp

Synchronous = Literal["full", "normal"]


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Read the machine's clock."""
    return datetime.now(UTC)


OnCommit = Callable[[str, int, float], None]
"""Told of a commit, in the writer's thread: the board, the calls in it, the seconds it took."""


OnClose = Callable[[str], None]
"""Told of a board that was closed."""


def ignore(*_told: object) -> None:
    """Take no note of it."""


async def at_once() -> None:
    """Return at once: nothing that has arrived is unread."""


@dataclass(slots=True)
class Settings:
    """What all boards of a store have in common.

    `keep_revisions` is how many revisions Watch can go back, unless their events are
    larger than `keep_bytes`; half of that is for remembered replies; `clock` gives aware
    UTC; `max_queue` is how many writes may wait for one board's writer;
    `caught_up` is the one of Store.expire_after.
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
        """Wait until all calls are read that have arrived by now."""
        await self.caught_up()
