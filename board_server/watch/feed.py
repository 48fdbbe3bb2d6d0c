"""Feed: one board's commits, encoded once, for every watcher and waiter, and for its mirror.

A feed follows the store from its first subscriber on. What a subscriber has
missed it reads from the store's events; what happens from then on reaches it
through a queue of its own, so that a slow one costs the others nothing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NoReturn

from board_server.call_context import Holding
from board_server.errors import (
    BoardError,
    BoardReplaced,
    InvalidArgument,
    ShuttingDown,
    StoreUnavailable,
    Violation,
    WatchTooSlow,
)
from board_server.failpoints import reach
from board_server.model import (
    BoardInfo,
    Change,
    Commit,
    Condition,
    Event,
    Evidence,
    Following,
    Revised,
    Session,
)
from board_server.store import Store
from board_server.watch.cache import Mirror
from board_server.watch.waiters import Waiters
from board_server.wire.requests import Watched
from board_server.wire.responses import encoded_bookmark, encoded_event, weight
from board_server.wire.validation import MAX_BATCH_BYTES

MAX_BEHIND = 8 * 2**20
"""Bytes that wait for one watcher, events of all kinds, before it is too slow."""

MAX_COMMITS_BEHIND = 20_000

MAX_MESSAGE = 2**20
"""Bytes from which on no further commit joins a message."""

TRIES = 3
"""Times that a read starts anew because another board has taken its board's place."""

ENCODED_AT_ONCE = 200
"""Events that are encoded before others have their turn: some two milliseconds' worth."""

PAGE = 2 * MAX_BATCH_BYTES
"""Bytes that are counted for a page of past commits and a message of it, until their size is
known: most pages have some 3 MiB, but a single commit may be as large as a batch."""

BOOKMARK = 10.0
"""Seconds without an event after which a watcher is told the revision."""

Send = Callable[[bytes], Awaitable[None]]
Kinds = frozenset[Change]


class Feeds:
    """The feeds of a store's boards, each made when it is first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._feeds: dict[str, Feed] = {}
        self._closed = False

    async def of(self, board: str) -> "Feed":
        """Return the board's feed. Raises what Store.follow does."""
        if self._closed:
            raise ShuttingDown
        feed = self._feeds.get(board)
        if feed is None:  # one that is over has been forgotten
            feed = Feed(self._store, board, self._forget)
            self._feeds[board] = feed
        await feed.started()
        return feed

    async def caught_up(self, board: str) -> "Feed":
        """Return the board's feed once it has received every commit that the store shows by now.

        Raises StoreUnavailable where the board is replaced again and again meanwhile.
        """
        for _ in range(TRIES):  # bounded: neither of these calls has to let others run
            info = await self._store.get_board(board)
            feed = await self.of(board)
            if feed.board_id == info.board_id:
                await feed.reached(info.revision)
                return feed
        raise StoreUnavailable(f'board "{board}" was replaced while it was read; retry')

    def following(self) -> list[Following]:
        """Tell who follows each board, and how far they are behind."""
        return [feed.following() for feed in self._feeds.values()]

    def close(self) -> None:
        """End every watch and wait with SHUTTING_DOWN."""
        self._closed = True
        for feed in list(self._feeds.values()):
            feed.ended(ShuttingDown())

    def _forget(self, feed: "Feed") -> None:
        if self._feeds.get(feed.board) is feed:
            del self._feeds[feed.board]


class Feed:
    """One board's commits; a Follower of the store."""

    def __init__(self, store: Store, board: str, over: Callable[["Feed"], None]) -> None:
        """Make a feed that calls `over` once no commit comes any more."""
        self.board = board
        self._store = store
        self._tell_over = over
        self._starting: asyncio.Task[BoardInfo] | None = None
        self.board_id = ""
        self.revision = 0
        """That of the last commit that was told."""
        self.mirror: Mirror | None = None
        self.snapshot_size = 0
        """Bytes of the last snapshot that the store made; 0 before one."""
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._subscriptions: set[_Subscription] = set()
        self._waiters = Waiters()
        self._opened: set[str] = set()
        self._sessions: dict[str, Callable[[], None]] = {}
        self._error: BoardError | None = None

    @property
    def over(self) -> bool:
        """Whether no commit comes any more."""
        return self._error is not None

    @property
    def needed(self) -> bool:
        """Whether anybody watches or waits."""
        return bool(self._subscriptions or self._waiters or self._reached)

    async def started(self) -> None:
        """Return once the store is followed; the first caller begins that."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._store.follow(self.board, self))
            self._starting.add_done_callback(self._begun)
        info = await asyncio.shield(self._starting)
        if not self.board_id:
            self.board_id = info.board_id
            self.revision = max(self.revision, info.revision)

    def _begun(self, starting: asyncio.Task[BoardInfo]) -> None:
        """Stand in nobody's way where it failed, whether or not its caller is still there."""
        if starting.cancelled() or starting.exception():
            self._tell_over(self)

    def committed(self, commit: Commit) -> None:
        """Hand a commit on to all who watch or wait."""
        if commit.revision <= self.revision:
            return
        self.revision = commit.revision
        if self._subscriptions:
            delivery = _Delivery(commit)
            for subscription in self._subscriptions:
                subscription.offer(delivery)
        self._follow_sessions(commit)
        self._waiters.committed(commit)
        if self.mirror:
            self.mirror.committed(commit)
            if not self.mirror.useful:
                self.mirror = None
        for revision, reached in self._reached:
            if revision <= self.revision and not reached.done():
                reached.set_result(None)

    def ended(self, error: BoardError) -> None:
        """End every watch and wait with the error."""
        if self._error:
            return
        self._error = error
        self._tell_over(self)
        for subscription in self._subscriptions:
            subscription.end(error)
        self._waiters.end(error)
        for over in self._sessions.values():
            over()
        self._sessions.clear()
        for _, reached in self._reached:
            if not reached.done():
                reached.set_exception(error)
                reached.exception()  # whoever waits may be gone

    async def reached(self, revision: int) -> None:
        """Return once the commit of a revision was told, which the store has made already."""
        if self.revision >= revision:
            return
        if self._error:
            raise self._error
        waiting = revision, asyncio.get_running_loop().create_future()
        self._reached.append(waiting)
        try:
            await waiting[1]
        finally:
            self._reached.remove(waiting)

    def following(self) -> Following:
        """Tell who follows this board, and how far they are behind."""
        watchers = self._subscriptions
        return Following(
            board=self.board,
            watchers=len(watchers),
            waiters=len(self._waiters),
            revisions_behind=max((self.revision - each.sent for each in watchers), default=0),
            bytes_behind=max((each.size for each in watchers), default=0),
        )

    async def open_session(
        self, opening: Coroutine[Any, Any, Revised[Session]], over: Callable[[], None]
    ) -> Revised[Session]:
        """Return what `opening` does; `over` is called once that session has ended.

        It is called at once where none was opened: after an error, or where a call that was
        done before is answered again. A caller that goes away changes nothing about it.
        """
        task = asyncio.create_task(opening)
        task.add_done_callback(partial(self._keep_session, over))
        return await asyncio.shield(task)

    def _keep_session(
        self, over: Callable[[], None], opening: asyncio.Task[Revised[Session]]
    ) -> None:
        failed = opening.cancelled() or opening.exception() is not None
        session_id = "" if failed else opening.result().value.session_id
        if session_id in self._opened and not self._error:
            self._opened.discard(session_id)
            self._sessions[session_id] = over
        else:
            over()

    def _follow_sessions(self, commit: Commit) -> None:
        for event in commit.events:
            if not isinstance(event.record, Session):
                continue
            session_id = event.record.session_id
            if event.change is Change.SESSION_OPENED:
                self._opened.add(session_id)
            else:
                self._opened.discard(session_id)
                if over := self._sessions.pop(session_id, None):
                    over()

    async def watch(self, asked: Watched, send: Send, holding: Holding) -> None:
        """Send a watcher its messages until it goes; raise the error that ends its stream.

        What it has not read is counted in `holding`.
        """
        if asked.board_id and asked.board_id != self.board_id:
            raise BoardReplaced(self.board_id)
        if asked.after is not None:
            await self._refuse_the_future(asked.after)
        after = self.revision if asked.after is None else asked.after
        subscription = _Subscription(asked.kinds, after)
        if self._error:
            raise self._error
        self._subscriptions.add(subscription)
        upto = self.revision
        try:
            # On its own: gRPC cannot end a stream whose first message is not on its way.
            await send(encoded_bookmark(after, self.board_id))
            await self._send_until_over(subscription, upto, send, holding)
        finally:
            self._subscriptions.discard(subscription)

    async def _send_until_over(
        self, subscription: "_Subscription", upto: int, send: Send, holding: Holding
    ) -> NoReturn:
        sending = asyncio.create_task(self._send_all(subscription, upto, send, holding))
        try:
            # Beside the sending, which stands still while the watcher does not read.
            both: set[asyncio.Future[Any]] = {sending, subscription.over}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not subscription.over.done():
                await sending
            raise subscription.over.result()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def wait_for(self, conditions: Sequence[Condition]) -> Revised[list[Evidence]]:
        """Return what meets the conditions as soon as all are met at one revision."""
        distinct = tuple(dict.fromkeys(conditions))  # equal ones are looked up once
        met = None
        with self._waiters.add(distinct) as waiter:
            while met is None:
                found = await self._store.find(self.board, distinct)
                if self._error:
                    raise self._error
                self._waiters.begin(waiter, found)
                met = await waiter.met
        evidence = dict(zip(distinct, met.value, strict=True))
        return Revised([evidence[condition] for condition in conditions], met.revision)

    async def _refuse_the_future(self, after: int) -> None:
        if after <= self.revision:
            return
        # A reader may have seen a commit before it is told here: the store knows.
        _, revision = await self._store.find(self.board, [])
        if after > revision:
            what = f"must not be after the board's revision, {revision}"
            raise InvalidArgument([Violation("after_revision", what)])

    async def _send_all(
        self, subscription: "_Subscription", upto: int, send: Send, holding: Holding
    ) -> None:
        while subscription.sent < upto:
            await self._send_history(subscription, upto, send, holding)
        while True:
            size = await subscription.next_size()
            await holding.room(size)
            message, revision = await subscription.next_message(size)
            if subscription.over.done():
                return  # its error names the last revision that was sent: that stays the last
            reach("before-watch-send")
            holding.resize(size, len(message))
            subscription.sent = revision
            try:
                await send(message)
            finally:
                holding.resize(len(message), 0)

    async def _send_history(
        self, subscription: "_Subscription", upto: int, send: Send, holding: Holding
    ) -> None:
        """Read and send a page of what came between the watcher's revision and its subscription."""
        await holding.room(PAGE)
        commits = await self._store.list_events(self.board, subscription.sent, upto)
        page = deque(_Delivery(commit) for commit in commits)
        del commits
        size = 2 * sum(delivery.size for delivery in page)  # the page, and a message of it
        holding.resize(PAGE, size)
        try:
            if not page:
                subscription.sent = upto
            while page:
                delivery = page.popleft()
                await delivery.encode()
                if subscription.over.done():
                    return  # as above
                subscription.sent = delivery.revision
                await send(delivery.message(subscription.kinds))
        finally:
            holding.resize(size, 0)


class _Delivery:
    """A commit, each of its events encoded once for all watchers."""

    def __init__(self, commit: Commit) -> None:
        self.revision = commit.revision
        self.size = sum(weight(event.record) for event in commit.events)
        """Bytes that it takes, more or less."""
        self._commit: Commit | None = commit
        self._events: list[tuple[Change, bytes]] = []
        self._encoding: asyncio.Task[None] | None = None

    async def encode(self) -> None:
        """Encode the events, a large commit a little at a time."""
        if self._commit is None:
            return
        if len(self._commit.events) <= ENCODED_AT_ONCE:
            self._encode(self._commit, self._commit.events)
            self._commit = None
            return
        if self._encoding is None:
            self._encoding = asyncio.create_task(self._encode_all(self._commit))
        await asyncio.shield(self._encoding)  # others wait for it too

    async def _encode_all(self, commit: Commit) -> None:
        for start in range(0, len(commit.events), ENCODED_AT_ONCE):
            self._encode(commit, commit.events[start : start + ENCODED_AT_ONCE])
            await asyncio.sleep(0)
        self._commit = None

    def _encode(self, commit: Commit, events: Sequence[Event]) -> None:
        self._events += [(event.change, encoded_event(commit, event)) for event in events]

    def message(self, kinds: Kinds) -> bytes:
        """Join the events of these kinds, which have been encoded."""
        parts = [encoded for change, encoded in self._events if change in kinds]
        return b"".join((*parts, encoded_bookmark(self.revision)))


class _Subscription:
    """What waits for one watcher, and how far it has been sent.

    What waits for each are the last commits, from the one on that it has still to be sent. So
    all watchers of a board together keep no more than the slowest of them does.
    """

    def __init__(self, kinds: Kinds, after: int) -> None:
        self.kinds = kinds
        self.sent = after
        self.over: asyncio.Future[BoardError] = asyncio.get_running_loop().create_future()
        self._waiting: deque[_Delivery] = deque()
        self.size = 0
        self._arrived = asyncio.Event()

    def offer(self, delivery: _Delivery) -> None:
        """Put a commit behind the others; end the subscription when they are too many."""
        if self.over.done() or delivery.revision <= self.sent:
            return  # behind what was dropped at the end, or known before it was told here
        self._waiting.append(delivery)
        self.size += delivery.size
        self._arrived.set()
        # A single large commit is nobody's fault.
        too_large = self.size > MAX_BEHIND and len(self._waiting) > 1
        if too_large or len(self._waiting) > MAX_COMMITS_BEHIND:
            self.end(WatchTooSlow(self.sent))

    def end(self, error: BoardError) -> None:
        """End the watch with an error."""
        if not self.over.done():
            self.over.set_result(error)
        self._waiting.clear()
        self.size = 0

    async def next_size(self) -> int:
        """Wait for a commit; return how many bytes the next message may take, 0 if none comes."""
        while not self._waiting:
            self._arrived.clear()
            try:
                async with asyncio.timeout(BOOKMARK):
                    await self._arrived.wait()
            except TimeoutError:
                return 0
        return min(self.size, max(self._waiting[0].size, MAX_MESSAGE))

    async def next_message(self, size: int) -> tuple[bytes, int]:
        """Return what waits, up to so many bytes, as one message, and the revision of its end.

        A bookmark if nothing waits.
        """
        parts: list[bytes] = []
        revision = self.sent
        while self._waiting and (not parts or size > 0):
            delivery = self._waiting[0]
            await delivery.encode()
            if self.over.done():
                break
            self._waiting.popleft()
            revision = delivery.revision
            self.size -= delivery.size
            size -= delivery.size
            parts.append(delivery.message(self.kinds))
        # Protobuf merges messages that stand one behind the other.
        return b"".join(parts) or encoded_bookmark(revision), revision
