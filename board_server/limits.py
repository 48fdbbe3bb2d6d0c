"""Limits: how much may go on at once. What is over is refused at once, nothing waits in line."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from board_server.config import Limits
from board_server.errors import LimitExceeded

Context = grpc.aio.ServicerContext[Any, Any]

Key = tuple[str, str]
"""What is counted, and whose it is."""

LARGE = 64 * 2**10
"""Bytes from which on a reply is counted until the caller has taken it."""


class Limiter:
    """Counts what goes on. Lives on the event loop; counting is all that it does."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = {
            "Watch": ("watches", limits.watches),
            "WaitFor": ("waiters", limits.waiters),
            "GetSnapshot": ("snapshots", limits.snapshots),
        }
        self.calls = 0
        self._by_caller: Counter[Key] = Counter()
        self._boards: dict[str, Counter[str]] = {}  # that each caller keeps open

    def begin(self, method: str, caller: str, context: Context) -> Key | None:
        """Count a call; return what `end` is to be told. Raises LimitExceeded."""
        if self.calls >= self._limits.calls:
            raise LimitExceeded("calls", self._limits.calls)
        key = None
        if method in self._held:
            kind, most = self._held[method]
            key = kind, caller or host_of(context)
            if self._by_caller[key] >= most:
                raise LimitExceeded(kind, most)
            self._by_caller[key] += 1
        self.calls += 1
        return key

    def end(self, key: Key | None) -> None:
        """Count a call no longer."""
        self.calls -= 1
        if key:
            self._take(key, 1)

    def reply(self, size: int, caller: str, context: Context, *, changed: bool) -> None:
        """Count a reply's bytes until the call is over, when the caller has read it or gone.

        Whoever asks and does not read would otherwise fill the memory. Raises
        LimitExceeded, but not where something was changed: that must be told.
        """
        if size < LARGE:
            return
        key = ("unread bytes", caller or host_of(context))
        if not changed and self._by_caller[key] + size > self._limits.unread:
            raise LimitExceeded("unread bytes", self._limits.unread)
        self._by_caller[key] += size
        over: Any = lambda _: self._take(key, size)  # noqa: E731  its stubs call the argument ctx
        context.add_done_callback(over)

    @contextmanager
    def keeping_open(self, board: str, caller: str, context: Context) -> Iterator[None]:
        """Count a board that a caller's call keeps open, for the time of a `with` block.

        Only so many boards may be open at once: nobody may have them all. Raises LimitExceeded.
        """
        whose = caller or host_of(context)
        boards = self._boards.get(whose, Counter())
        if board not in boards and len(boards) >= self._limits.boards:
            raise LimitExceeded("watched boards", self._limits.boards)
        boards[board] += 1
        self._boards[whose] = boards
        try:
            yield
        finally:
            boards[board] -= 1
            if not boards[board]:
                del boards[board]
            if not boards:
                del self._boards[whose]

    def _take(self, key: Key, amount: int) -> None:
        self._by_caller[key] -= amount
        if not self._by_caller[key]:
            del self._by_caller[key]


def host_of(context: Context) -> str:
    """Tell from which host a call comes: `ipv4:192.0.2.1`, or `unix`."""
    peer = context.peer()
    return peer.rpartition(":")[0] or peer
