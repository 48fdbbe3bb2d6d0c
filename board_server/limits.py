"""Limits: how much may go on at once. What is over is refused at once, nothing waits in line."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import grpc

from board_server.errors import LimitExceeded

Context = grpc.aio.ServicerContext[Any, Any]

LARGE = 64 * 2**10
"""Bytes from which on a reply is counted until the caller has taken it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that may be: `calls` in all, the rest for each caller, `unread` in bytes.

    A caller is a token, or the host where a server asks for none.
    """

    calls: int
    watches: int
    waiters: int
    snapshots: int
    unread: int


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
        self._by_caller: Counter[tuple[str, str]] = Counter()

    def hold(self, method: str, caller: str, context: Context) -> "Hold":
        """Count a call for the time of a `with` block. Raises LimitExceeded."""
        if self.calls >= self._limits.calls:
            raise LimitExceeded("calls", self._limits.calls)
        kind, most = self._held.get(method, ("", 0))
        if not kind:
            return Hold(self, None)
        key = (kind, caller or host_of(context))
        if self._by_caller[key] >= most:
            raise LimitExceeded(kind, most)
        return Hold(self, key)

    def enter(self, key: tuple[str, str] | None) -> None:
        """Count one more."""
        self.calls += 1
        if key:
            self._by_caller[key] += 1

    def leave(self, key: tuple[str, str] | None) -> None:
        """Count one less."""
        self.calls -= 1
        if key:
            self._take(key, 1)

    def reply(self, size: int, caller: str, context: Context) -> None:
        """Count a reply's bytes until the call is over, when the caller has read it or gone.

        Whoever asks and does not read would otherwise fill the memory. Raises LimitExceeded.
        """
        if size < LARGE:
            return
        key = ("unread bytes", caller or host_of(context))
        if self._by_caller[key] + size > self._limits.unread:
            raise LimitExceeded("unread bytes", self._limits.unread)
        self._by_caller[key] += size
        over: Any = lambda _: self._take(key, size)  # noqa: E731
        context.add_done_callback(over)

    def _take(self, key: tuple[str, str], amount: int) -> None:
        self._by_caller[key] -= amount
        if not self._by_caller[key]:
            del self._by_caller[key]


class Hold:
    """One call's place among those that go on."""

    __slots__ = ("_key", "_limiter")

    def __init__(self, limiter: Limiter, key: tuple[str, str] | None) -> None:
        self._limiter = limiter
        self._key = key

    def __enter__(self) -> None:
        self._limiter.enter(self._key)

    def __exit__(self, *_: object) -> None:
        self._limiter.leave(self._key)


def host_of(context: Context) -> str:
    """Tell from which host a call comes: `ipv4:192.0.2.1`, or `unix`."""
    peer = context.peer()
    return peer.rpartition(":")[0] or peer
