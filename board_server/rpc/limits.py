"""Limits: how much one caller, and all together, may have the server do and hold at once.

What is over a limit is refused at once; only a stream waits, until its caller has read
what was sent before. `wire.methods.ROWS` says what each call can make the server hold.
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
"""What is counted, and whose it is."""

LARGE = 4 * 2**10
"""Bytes from which on a request or a reply is counted. How many smaller ones there are is
bounded by the limits on calls, and to count them would cost each call."""

COUNTED = ("watches", "waiters", "snapshots")
"""Calls of which one caller may have only so many at once, as `max_` and the name is set."""

SMALL_AT_ONCE = 64
"""Requests of one caller, other than batches, that may be on their way at once."""

STANDARD: dict[str, tuple[int, int]] = {"health calls": (50, 500), "reflection calls": (4, 40)}
"""How many calls of the standard services one host or caller may make at once, and all."""

STANDARD_IN_ALL = sum(most for _, most in STANDARD.values())


def refuse_larger(method: str, size: int) -> None:
    """Raise InvalidArgument for a request that is larger than any valid one."""
    largest = ROWS[method].largest
    if size > largest:
        what = f"must not be larger than {largest:,} bytes, and has {size:,}"
        raise InvalidArgument([Violation("request", what)])


class Limiter:
    """Counts what goes on and what is held. Lives on the event loop, and never waits itself."""

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
        """Bytes of all callers together."""
        self._by_caller: Counter[Key] = Counter()
        self._boards: dict[str, Counter[str]] = {}  # that each caller keeps open
        self._turns: dict[Key, Turns] = {}
        self._waiting: dict[Key, deque[_Waiting]] = {}  # in the order in which they came

    def begin(self, method: str, caller: str, context: Context) -> "Holding":
        """Count a call until it is over: until its caller has its reply, or has gone.

        What it lasts for, a watch for example, is counted until its holding's `end`. Raises
        LimitExceeded.
        """
        whose = caller or host_of(context)
        if self.calls >= self._limits.calls:
            raise LimitExceeded("calls", self._limits.calls)
        calls = "calls of one caller", whose
        self._count(calls, self._limits.calls_of_one)
        key = None
        if method in self._counted:
            kind, most = self._counted[method]
            try:
                self._count((kind, whose), most)
            except LimitExceeded:
                self._less(calls, 1)
                raise
            key = kind, whose
        self.calls += 1

        def over() -> None:
            self.calls -= 1
            self._less(calls, 1)

        _when_over(context, over)
        return Holding(self, key, whose, context)

    def end(self, key: Key) -> None:
        """Count a watch, a wait or a snapshot no longer."""
        self._less(key, 1)

    def session(self, key: Key, board: str) -> Callable[[], None]:
        """Count a session, and the board that it keeps open; return what is called at its end.

        A `board` of "" stays open anyway. Raises LimitExceeded.
        """
        _, whose = key
        closed = self._keep_open(board, whose) if board else None
        try:
            self._count(key, self._limits.sessions)
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
    def standard(self, kind: str, caller: str, context: Context) -> Iterator[None]:
        """Count a call of a standard service, for a `with` block. Raises LimitExceeded.

        These have limits of their own, so that strangers cannot use up those of the board.
        """
        mine, all_of_them = (kind, caller or host_of(context)), (f"{kind} in all", "")
        most, most_in_all = STANDARD[kind]
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
    def keeping_open(self, board: str, caller: str, context: Context) -> Iterator[None]:
        """Count a board that a caller's call keeps open, for the time of a `with` block.

        Only so many boards may be open at once: nobody may have them all. Raises LimitExceeded.
        """
        closed = self._keep_open(board, caller or host_of(context))
        try:
            yield
        finally:
            closed()

    def _keep_open(self, board: str, whose: str) -> Callable[[], None]:
        """Count a board that a caller keeps open; return what is called once it does not."""
        boards = self._boards.get(whose, Counter())
        if board not in boards and len(boards) >= self._limits.boards:
            raise LimitExceeded("boards kept open", self._limits.boards)
        boards[board] += 1
        self._boards[whose] = boards

        def closed() -> None:
            boards[board] -= 1
            if not boards[board]:
                del boards[board]
            if not boards:
                del self._boards[whose]

        return closed

    def turns(self, method: str, principal: str) -> "Turns":
        """Return the turns in which requests of this size are received.

        The bytes of a request are in memory before they are counted. One that has to wait for
        others of its principal stays with its client meanwhile.
        """
        batch = ROWS[method].largest == BATCH
        key = "batches" if batch else "requests", principal
        turns = self._turns.get(key)
        if turns is None:
            most = max(1, self._limits.held // self._limits.request) if batch else SMALL_AT_ONCE
            turns = self._turns[key] = Turns(most)
        return turns

    def fits(self, key: Key, size: int) -> bool:
        """Tell whether a caller, and all, may hold so much more; one alone may be of any size."""
        used = self._by_caller[key]
        mine = not used or used + size <= self._bytes[key[0]]
        return mine and (not self.held or self._leaves_enough(key, size))

    def refuse(self, key: Key, size: int) -> None:
        """Raise LimitExceeded where a caller, or all, would hold too much with so much more."""
        kind, _ = key
        if self._by_caller[key] + size > self._bytes[kind]:
            raise LimitExceeded(kind, self._bytes[kind])
        if not self._leaves_enough(key, size):
            raise LimitExceeded("held bytes in all", self._limits.held_in_all)

    def _leaves_enough(self, key: Key, size: int) -> bool:
        """Tell whether as much stays free for the others as the caller then has.

        So those who hold all that they may do not leave the next one with nothing.
        """
        return self._by_caller[key] + size <= self._limits.held_in_all - self.held - size

    def more(self, key: Key, size: int) -> None:
        """Count bytes, whether or not there is room."""
        if not size:
            return  # nobody would give it back, and the caller's name would stay for ever
        self._by_caller[key] += size
        self.held += size

    def less(self, key: Key, size: int) -> None:
        """Count bytes no longer, and give the room to those who wait for it."""
        self._less(key, size)
        self.held -= size
        self._give_room()

    async def room(self, key: Key, size: int) -> None:
        """Count bytes, as soon as there is room for them, and behind those who came before."""
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
        """Count the bytes of those for whom there is room now. Wakes nobody else."""
        for key, line in list(self._waiting.items()):
            # One whose caller has gone is about to leave, and to give room to those behind it.
            while line and not line[0].given.done() and self.fits(key, line[0].size):
                size, given = line.popleft()
                self.more(key, size)
                given.set_result(None)
            if not line:
                del self._waiting[key]

    def _count(self, key: Key, most: int) -> None:
        if self._by_caller[key] >= most:
            raise LimitExceeded(key[0], most)
        self._by_caller[key] += 1

    def _less(self, key: Key, amount: int) -> None:
        self._by_caller[key] -= amount
        if not self._by_caller[key]:
            del self._by_caller[key]


class Turns:
    """A semaphore that costs less than asyncio's where nobody waits: every call pays for it."""

    __slots__ = ("_waiting", "free")

    def __init__(self, most: int) -> None:
        self.free = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait until a turn is given back, behind those who came before."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a turn back, to the one that has waited longest."""
        if not self._waiting:
            self.free += 1
            return
        # One whose call was cancelled is about to leave the queue.
        turn = next((turn for turn in self._waiting if not turn.done()), None)
        if turn is None:
            self.free += 1
        else:
            self._waiting.remove(turn)
            turn.set_result(None)


class _Waiting(NamedTuple):
    """A stream that waits for room: how many bytes of it, and what is done once it has it."""

    size: int
    given: asyncio.Future[None]


class Holding:
    """What one call makes the server hold, until it is over."""

    __slots__ = ("_caller", "_context", "_held", "_key", "_limiter", "_unread")

    def __init__(self, limiter: Limiter, key: Key | None, caller: str, context: Context) -> None:
        self._limiter = limiter
        self._key = key
        self._caller = caller
        self._context = context
        self._held = 0
        self._unread = 0

    def hold(self, size: int) -> None:
        """Count bytes that are kept until the call ends. Raises LimitExceeded."""
        if size < LARGE:
            return
        key = self._of("held bytes")
        self._limiter.refuse(key, size)
        self._limiter.more(key, size)
        self._held += size

    async def room(self, size: int) -> None:
        """Count bytes of a stream that wait for their reader, as soon as there is room."""
        if size >= LARGE:
            await self._limiter.room(self._of("unread bytes"), size)
            self._unread += size

    def resize(self, before: int, after: int) -> None:
        """Count `after` bytes of a stream in place of `before`, which turned out to be as many."""
        before, after = (size if size >= LARGE else 0 for size in (before, after))
        if before != after:
            key = self._of("unread bytes")
            self._limiter.more(key, after)
            self._limiter.less(key, before)
            self._unread += after - before

    def reply(self, size: int, *, changed: bool) -> None:
        """Count a reply's bytes until the call is over, when the caller has read it or gone.

        Raises LimitExceeded, but not for a call that changed something: its caller must know.
        """
        if size < LARGE:
            return
        key = self._of("unread bytes")
        if not changed:
            self._limiter.refuse(key, size)
        self._limiter.more(key, size)
        _when_over(self._context, lambda: self._limiter.less(key, size))

    def session(self, board: str) -> Callable[[], None]:
        """Count a session, and its board, unless it is ""; return what is called at its end.

        Raises LimitExceeded.
        """
        return self._limiter.session(self._of("sessions"), board)

    def end(self) -> None:
        """Give back what was counted, but for the call, and a reply that has still to be read."""
        if self._key:
            self._limiter.end(self._key)
        if self._held:
            self._limiter.less(self._of("held bytes"), self._held)
        if self._unread:
            self._limiter.less(self._of("unread bytes"), self._unread)

    def _of(self, kind: str) -> Key:
        return kind, self._caller


def _when_over(context: Context, then: Callable[[], None]) -> None:
    """Have `then` called once a call is over: its caller has the reply, or has gone."""
    called: Any = lambda _: then()  # noqa: E731  its stubs call the argument ctx
    context.add_done_callback(called)


def host_of(context: Context) -> str:
    """Tell from which host a call comes: `ipv4:192.0.2.1`, or `unix`."""
    peer = context.peer()
    return peer.rpartition(":")[0] or peer
