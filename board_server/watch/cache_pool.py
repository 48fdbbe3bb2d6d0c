"""Mirrors: the boards that are read whole, in memory as long as there is room."""

import asyncio
from collections import OrderedDict
from functools import partial
from weakref import WeakSet

from board_server.errors import BoardError
from board_server.model import PageRequest
from board_server.store import Store
from board_server.watch.cache import EncodedSnapshot, Mirror
from board_server.watch.feed import Feed, Feeds
from board_server.wire import responses
from board_server.wire.lists import Listed

BUDGET = 128 * 2**20
"""Bytes of memory for all mirrors together; the one that was not read for longest goes first."""

MAX_SESSIONS = 10_000
"""Sessions that a snapshot from a mirror may have."""

UNKNOWN = 64 * 2**20
"""Bytes that a snapshot may have of a board of which none has been made."""

TRIES = 3


class Mirrors:
    """Answers reads from mirrors, or with None where the store has to be asked.

    A mirror tells what its feed was told, and that may be a moment behind the
    store: whoever reads there sees a commit before the feed hears of it. So each
    read waits until the feed is where the store is, and none shows less than
    another has shown.
    """

    def __init__(self, store: Store, feeds: Feeds) -> None:
        self._store = store
        self._feeds = feeds
        self._read: OrderedDict[Feed, None] = OrderedDict()
        self._reads = 0
        self._too_large: WeakSet[Feed] = WeakSet()
        self._loading: dict[Feed, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    async def list_contracts(self, board: str, listed: Listed) -> bytes | None:
        """Return an encoded ListContractsResponse with no filter."""
        feed = await self._feeds.caught_up(board)
        mirror = self._mirror(board, feed)
        return mirror.list_contracts(listed, feed.revision) if mirror else None

    async def size(self, board: str) -> int:
        """Tell how many bytes a snapshot of the board will have, as far as is known."""
        feed = await self._feeds.of(board)
        mirror = self._mirror(board, feed)
        return mirror.size if mirror else feed.snapshot_size or UNKNOWN

    async def snapshot(self, board: str) -> EncodedSnapshot | None:
        """Return a snapshot."""
        for _ in range(TRIES):
            feed = await self._feeds.caught_up(board)
            mirror = self._mirror(board, feed)
            if mirror is None:
                return None
            if not mirror.sessions:
                return mirror.snapshot(feed.board_id, feed.revision, ())
            # Who lives the mirror knows; for how long, only the store.
            page = await self._store.list_sessions(board, PageRequest(MAX_SESSIONS))
            feed = await self._feeds.caught_up(board)
            if page.next:
                return None
            if feed.mirror is mirror and mirror.sessions_changed <= page.revision:
                return mirror.snapshot(feed.board_id, feed.revision, page.items)
        return None

    async def stored(self, board: str) -> EncodedSnapshot:
        """Return a snapshot that the store makes."""
        feed = await self._feeds.of(board)
        read = await self._store.get_snapshot(board)
        snapshot = EncodedSnapshot(await asyncio.to_thread(responses.encoded_snapshot, read), b"")
        feed.snapshot_size = snapshot.size
        return snapshot

    async def close(self) -> None:
        """Stop what is being loaded."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)

    def _mirror(self, board: str, feed: Feed) -> Mirror | None:
        """Return the feed's mirror if it can be read; begin to load one where there is none."""
        self._read[feed] = None
        self._read.move_to_end(feed)
        self._reads += 1
        if self._reads >= len(self._read):  # so that it costs each read the same
            self._make_room()
        mirror = feed.mirror
        if mirror is None and feed not in self._too_large and feed not in self._loading:
            task = self._loading[feed] = asyncio.create_task(self._load(board, feed))
            task.add_done_callback(partial(self._loaded, feed))
        if mirror is None or not mirror.loaded:
            return None
        mirror.unread = 0
        return mirror

    async def _load(self, board: str, feed: Feed) -> None:
        """Load a mirror, one at a time: how much memory one takes shows only as it grows."""
        async with self._turn:
            if feed.over:
                return
            mirror = feed.mirror = Mirror()
            try:
                fits = await mirror.load(self._store, board, BUDGET)
            except BoardError:
                fits = True  # for all we know; whoever reads next is told what is wrong
            if not fits:
                self._too_large.add(feed)
            if not mirror.loaded and feed.mirror is mirror:
                feed.mirror = None

    def _loaded(self, feed: Feed, _: asyncio.Task[None]) -> None:
        del self._loading[feed]
        if feed.mirror and not feed.mirror.loaded:
            feed.mirror = None  # given up halfway
        self._make_room()

    def _make_room(self) -> None:
        """Let mirrors go while they take too much memory together."""
        self._reads = 0
        weights = {feed: feed.mirror.weight for feed in self._read if feed.mirror}
        excess = sum(weights.values()) - BUDGET
        for feed in list(self._read):
            if feed.over or (excess > 0 and feed.mirror):
                excess -= weights.get(feed, 0)
                if loading := self._loading.get(feed):
                    loading.cancel()
                feed.mirror = None
                del self._read[feed]
