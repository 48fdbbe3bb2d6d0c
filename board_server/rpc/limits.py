"""Limits: how many calls and bytes the server holds at once for one principal, and for all.

A call over a limit is refused at once. Only streams wait, until their clients have read enough
of the earlier messages. `wire.methods.ROWS` names the bounds of each method.

On a server without tokens each host counts as one principal.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc

from board_server.config.schema import Limits
from board_server.errors import InvalidArgument, LimitExceeded, Violation
from board_server.wire.methods import BATCH, ROWS

Context = grpc.aio.ServicerContext[Any, Any]

Key = tuple[str, str]
"""What is counted, and the account that it is counted for: a principal, or else a host."""

LARGE = 4 * 2**10
"""Bytes of the smallest request or reply that is counted. The limits on calls bound how many
smaller ones there are; counting those would cost every call time."""

COUNTED = ("watches", "waiters", "snapshots")
"""Kinds of calls that have their own limit for each principal: the setting `max_` and the name."""

SMALL_AT_ONCE = 64
"""Requests other than batches that one principal may have in transit at once."""

BUILTIN_LIMITS: dict[str, tuple[int, int]] = {
    "health calls": (50, 500),
    "reflection calls": (4, 40),
}
"""Concurrent calls of the built-in services: of one principal or host, and in all."""

BUILTIN_CALLS = sum(most for _, most in BUILTIN_LIMITS.values())
"""Concurrent calls of all built-in services."""


def refuse_larger(method: str, size: int) -> None:
    """Raise InvalidArgument for a request that is larger than any valid one."""
    largest = ROWS[method].largest
    if size > largest:
        what = f"must not be larger than {largest:,} bytes, and has {size:,}"
        raise InvalidArgument([Violation("request", what)])


class Limiter:
    """Counts calls in progress and bytes held. It is used on the event loop alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counted: dict[str, tuple[str, int]] = {
            name: (kind, getattr(limits, kind))
            for name, row in ROWS.items()
            for kind in COUNTED
            if f"max_{kind}" in row.bounds
        }
        self._bytes = {"held bytes": limits.held, "unread bytes": limits.unread}
        self.calls = 0
        self.held = 0
        """Bytes of all principals together."""
        self._counts: Counter[Key] = Counter()
        self._boards: dict[str, Counter[str]] = {}  # that each principal keeps open
        self._semaphores: dict[Key, Semaphore] = {}
        self._waiting: dict[Key, deque[_Waiting]] = {}  # first come, first served

    def begin(self, method: str, principal: str, context: Context) -> "Holding":
        """Count a call until it is over: its client has read the reply, or is gone.

        A watch, a wait or a snapshot is counted until `Holding.end`. Raises LimitExceeded.
        """
        account = principal or host_of(context)
        if self.calls >= self._limits.calls:
            raise LimitExceeded("calls", self._limits.calls)
        calls = "calls of one caller", account
        self._count(calls, self._limits.calls_of_one)
        key = None
        counted = self._counted.get(method)
        if counted:
            kind, most = counted
            try:
                self._count((kind, account), most)
            except LimitExceeded:
                self._less(calls, 1)
                raise
            key = kind, account
        self.calls += 1

        def over() -> None:
            self.calls -= 1
            self._less(calls, 1)

        _when_over(context, over)
        return Holding(self, key, account, context)

    def end(self, key: Key) -> None:
        """Stop counting a watch, a wait or a snapshot."""
        self._less(key, 1)

    def session(self, key: Key, board: str, *, new: bool) -> Callable[[], None]:
        """See `call_context.Holding.session`."""
        _, account = key
        closed = self._keep_open(board, account, refuse=new) if board else None
        try:
            self._count(key, self._limits.sessions, refuse=new)
        except LimitExceeded:
            if closed:
                closed()
            raise

        def over() -> None:
            self._less(key, 1)
            if closed:
                closed()

        return over

    @contextmanager
    def builtin_call(self, kind: str, principal: str, context: Context) -> Iterator[None]:
        """Count a call of a built-in service during a `with` block. Raises LimitExceeded.

        These have their own limits, so that unknown clients cannot use up those of the board.
        """
        mine, all_of_them = (kind, principal or host_of(context)), (f"{kind} in all", "")
        most, most_in_all = BUILTIN_LIMITS[kind]
        self._count(all_of_them, most_in_all)
        try:
            self._count(mine, most)
            try:
                yield
            finally:
                self._less(mine, 1)
        finally:
            self._less(all_of_them, 1)

    @contextmanager
    def keeping_open(self, board: str, principal: str, context: Context) -> Iterator[None]:
        """Count a board that a call keeps open during a `with` block. Raises LimitExceeded.

        The number of open boards is limited; no principal may use all of it.
        """
        closed = self._keep_open(board, principal or host_of(context))
        try:
            yield
        finally:
            closed()

    def _keep_open(self, board: str, account: str, *, refuse: bool = True) -> Callable[[], None]:
        """Count a board that a principal keeps open; return a function that stops counting it."""
        boards = self._boards.get(account, Counter())
        if refuse and board not in boards and len(boards) >= self._limits.boards:
            raise LimitExceeded("boards kept open", self._limits.boards)
        boards[board] += 1
        self._boards[account] = boards

        def closed() -> None:
            boards[board] -= 1
            if not boards[board]:
                del boards[board]
            if not boards:
                del self._boards[account]

        return closed

    def semaphore(self, method: str, principal: str) -> "Semaphore":
        """Return the semaphore that bounds how many requests a principal sends at once.

        The bytes of a request are in memory before they can be counted, so only a few requests
        of one principal are received at once. gRPC's flow control holds back the others.
        """
        batch = ROWS[method].largest == BATCH
        key = "batches" if batch else "requests", principal
        semaphore = self._semaphores.get(key)
        if semaphore is None:
            most = max(1, self._limits.held // self._limits.request) if batch else SMALL_AT_ONCE
            semaphore = self._semaphores[key] = Semaphore(most)
        return semaphore

    def fits(self, key: Key, size: int) -> bool:
        """Return whether there is room for more bytes. A first message may be of any size."""
        used = self._counts[key]
        mine = not used or used + size <= self._bytes[key[0]]
        return mine and (not self.held or self._leaves_enough(key, size))

    def refuse(self, key: Key, size: int) -> None:
        """Raise LimitExceeded if these bytes would exceed a limit."""
        kind, _ = key
        if self._counts[key] + size > self._bytes[kind]:
            raise LimitExceeded(kind, self._bytes[kind])
        if not self._leaves_enough(key, size):
            raise LimitExceeded("held bytes in all", self._limits.held_in_all)

    def _leaves_enough(self, key: Key, size: int) -> bool:
        """Return whether at least as many bytes stay free as the principal would then hold.

        So a principal that uses all of its limit still leaves room for the next one.
        """
        return self._counts[key] + size <= self._limits.held_in_all - self.held - size

    def more(self, key: Key, size: int) -> None:
        """Count bytes, whether or not there is room."""
        if not size:
            return  # nothing would ever remove the key
        self._counts[key] += size
        self.held += size

    def less(self, key: Key, size: int) -> None:
        """Stop counting bytes, and give the room to the streams that wait for it."""
        self._less(key, size)
        self.held -= size
        self._give_room()

    async def room(self, key: Key, size: int) -> None:
        """Wait until there is room for bytes, first come, first served, and count them."""
        if key not in self._waiting and self.fits(key, size):
            self.more(key, size)
            return
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(key, deque()).append(waiting)
        try:
            await waiting.given
        except asyncio.CancelledError:
            if waiting.given.cancelled():
                self._waiting[key].remove(waiting)
                self._give_room()  # to those behind it
            else:
                self.less(key, size)
            raise

    def _give_room(self) -> None:
        """Wake the streams for which there is room now, and count their bytes."""
        for key, line in list(self._waiting.items()):
            # A cancelled stream is about to leave the queue, and then wakes those behind it.
            while line and not line[0].given.done() and self.fits(key, line[0].size):
                size, given = line.popleft()
                self.more(key, size)
                given.set_result(None)
            if not line:
                del self._waiting[key]

    def _count(self, key: Key, most: int, *, refuse: bool = True) -> None:
        used = self._counts.get(key, 0)  # faster than Counter's own default
        if used >= most and refuse:
            raise LimitExceeded(key[0], most)
        self._counts[key] = used + 1

    def _less(self, key: Key, amount: int) -> None:
        left = self._counts[key] - amount
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]


class Semaphore:
    """A semaphore that is cheaper than asyncio's when it is free: every call acquires one.

    If `free` is not 0, decrement it to acquire the semaphore; otherwise await `wait`.
    """

    __slots__ = ("_waiting", "free")

    def __init__(self, most: int) -> None:
        self.free = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Acquire a semaphore that is not free: wait, first come, first served."""
        acquired = asyncio.get_running_loop().create_future()
        self._waiting.append(acquired)
        try:
            await acquired
        except asyncio.CancelledError:
            if acquired.cancelled():
                self._waiting.remove(acquired)
            else:
                self.release()
            raise

    def release(self) -> None:
        """Release the semaphore, and wake the call that has waited longest."""
        if not self._waiting:
            self.free += 1
            return
        # A cancelled call is about to leave the queue.
        acquired = next((each for each in self._waiting if not each.done()), None)
        if acquired is None:
            self.free += 1
        else:
            self._waiting.remove(acquired)
            acquired.set_result(None)


class _Waiting(NamedTuple):
    """A stream that waits for room: its bytes, and a future that is done once it has room."""

    size: int
    given: asyncio.Future[None]


class Holding:
    """Counts what one call makes the server hold in memory: see `call_context.Holding`."""

    __slots__ = ("_account", "_context", "_held", "_key", "_limiter", "_unread")

    def __init__(self, limiter: Limiter, key: Key | None, account: str, context: Context) -> None:
        self._limiter = limiter
        self._key = key
        self._account = account
        self._context = context
        self._held = 0
        self._unread = 0

    def hold(self, size: int) -> None:
        """Count bytes that stay in memory until the call ends. Raises LimitExceeded."""
        if size < LARGE:
            return
        key = self._of("held bytes")
        self._limiter.refuse(key, size)
        self._limiter.more(key, size)
        self._held += size

    async def room(self, size: int) -> None:
        """Wait until there is room for bytes that the client has not read, and count them."""
        if size >= LARGE:
            await self._limiter.room(self._of("unread bytes"), size)
            self._unread += size

    def resize(self, before: int, after: int) -> None:
        """Change the count of unread bytes from `before` to `after`."""
        before, after = (size if size >= LARGE else 0 for size in (before, after))
        if before != after:
            key = self._of("unread bytes")
            self._limiter.more(key, after)
            self._limiter.less(key, before)
            self._unread += after - before

    def reply(self, size: int, *, changed: bool) -> None:
        """Count a reply's bytes until the call is over: its client has read it, or is gone.

        Raises LimitExceeded, except for a call that changed the board: its client must know.
        """
        if size < LARGE:
            return
        key = self._of("unread bytes")
        if not changed:
            self._limiter.refuse(key, size)
        self._limiter.more(key, size)
        _when_over(self._context, lambda: self._limiter.less(key, size))

    def session(self, board: str, *, new: bool = True) -> Callable[[], None]:
        """Count a session, and its board unless it is ""; return a function to call at its end.

        Raises LimitExceeded if it is new.
        """
        return self._limiter.session(self._of("sessions"), board, new=new)

    def end(self) -> None:
        """Stop counting what was counted, except the call and its unread reply."""
        if self._key:
            self._limiter.end(self._key)
        if self._held:
            self._limiter.less(self._of("held bytes"), self._held)
        if self._unread:
            self._limiter.less(self._of("unread bytes"), self._unread)

    def _of(self, kind: str) -> Key:
        return kind, self._account


def _when_over(context: Context, then: Callable[[], None]) -> None:
    """Call `then` when a call is over: its client has read the reply, or is gone."""
    called: Any = lambda _: then()  # noqa: E731  grpc's type stubs name the argument ctx
    context.add_done_callback(called)


def host_of(context: Context) -> str:
    """Return the host that a call comes from: `ipv4:192.0.2.1`, or `unix`."""
    peer = context.peer()
    return peer.rpartition(":")[0] or peer
