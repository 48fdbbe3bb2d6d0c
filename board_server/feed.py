"""Feed: one board's commits, encoded once, for every watcher and waiter, and for its mirror.

A feed follows the store from its first subscriber on. What a subscriber has
missed it reads from the store's events; what happens from then on reaches it
through a queue of its own, so that a slow one costs the others nothing.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NoReturn

from board_server.convert.replies import encoded_bookmark, encoded_commit
from board_server.convert.requests import Watched
from board_server.errors import (
    BoardError,
    BoardReplaced,
    InvalidArgument,
    ShuttingDown,
    StoreUnavailable,
    Violation,
    WatchTooSlow,
)
from board_server.faults import reach
from board_server.mirror import Mirror
from board_server.model import (
    BoardInfo,
    Change,
    Commit,
    Condition,
    Evidence,
    Following,
    Revised,
)
from board_server.store import Store
from board_server.waiters import Waiters

MAX_BEHIND = 8 * 2**20
"""Bytes that wait for one watcher before it is too slow."""

MAX_COMMITS_BEHIND = 20_000

MAX_MESSAGE = 2**20
"""Bytes from which on no further commit joins a message."""

TRIES = 3
"""Times that a read starts anew because another board has taken its board's place."""

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
        """Return the board's feed once it has been told of all that the store shows by now.

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
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._subscriptions: set[_Subscription] = set()
        self._waiters = Waiters()
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
        delivery = _Delivery(commit)
        for subscription in self._subscriptions:
            subscription.offer(delivery)
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

    async def watch(self, asked: Watched, send: Send) -> None:
        """Send a watcher its messages until it goes; raise the error that ends its stream."""
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
            await self._send_until_over(subscription, upto, send)
        finally:
            self._subscriptions.discard(subscription)

    async def _send_until_over(
        self, subscription: "_Subscription", upto: int, send: Send
    ) -> NoReturn:
        sending = asyncio.create_task(self._send_all(subscription, upto, send))
        try:
            # Beside the sending, which stands still while the watcher does not read.
            both: set[asyncio.Future[Any]] = {sending, subscription.over}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
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

    async def _send_all(self, subscription: "_Subscription", upto: int, send: Send) -> None:
        async for message in self._history(subscription, upto):
            await send(message)
        while True:
            message = await subscription.next_message()
            reach("before-watch-send")
            await send(message)

    async def _history(self, subscription: "_Subscription", upto: int) -> AsyncIterator[bytes]:
        """Read what came between the watcher's revision and its subscription."""
        while subscription.sent < upto:
            commits = await self._store.list_events(self.board, subscription.sent, upto)
            for commit in commits:
                if subscription.over.done():
                    return
                subscription.sent = commit.revision
                yield _Delivery(commit).encoded(subscription.kinds)
            if not commits:
                subscription.sent = upto


class _Delivery:
    """A commit, encoded once for all watchers of the same kinds of events."""

    def __init__(self, commit: Commit) -> None:
        self.revision = commit.revision
        self._commit = commit
        self._encoded: dict[Kinds, bytes] = {}

    def encoded(self, kinds: Kinds) -> bytes:
        found = self._encoded.get(kinds)
        if found is None:
            found = self._encoded[kinds] = encoded_commit(self._commit, kinds)
        return found


class _Subscription:
    """What waits for one watcher, and how far it has been sent."""

    def __init__(self, kinds: Kinds, after: int) -> None:
        self.kinds = kinds
        self.sent = after
        self.over: asyncio.Future[BoardError] = asyncio.get_running_loop().create_future()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self.size = 0
        self._arrived = asyncio.Event()

    def offer(self, delivery: _Delivery) -> None:
        """Put a commit behind the others; end the subscription when they are too many."""
        if self.over.done() or delivery.revision <= self.sent:
            return  # behind what was dropped at the end, or known before it was told here
        message = delivery.encoded(self.kinds)
        self._waiting.append((delivery.revision, message))
        self.size += len(message)
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

    async def next_message(self) -> bytes:
        """Return all that waits as one message, or a bookmark when nothing comes."""
        while not self._waiting:
            self._arrived.clear()
            try:
                async with asyncio.timeout(BOOKMARK):
                    await self._arrived.wait()
            except TimeoutError:
                return encoded_bookmark(self.sent)
        parts = []
        size = 0
        while self._waiting and size < MAX_MESSAGE:
            self.sent, part = self._waiting.popleft()
            parts.append(part)
            size += len(part)
        self.size -= size
        return b"".join(parts)  # protobuf merges messages that stand one behind the other
