"""CachePool: the watch caches of all boards, least recently used evicted first."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from board_server.errors import BoardError
from board_server.model import Commit, PageRequest
from board_server.store import Store
from board_server.watch.cache import Cache, EncodedSnapshot
from board_server.watch.hub import Hub, Hubs
from board_server.watch.tasks import Tasks
from board_server.wire import responses
from board_server.wire.lists import Listed

BUDGET = 128 * 2**20
"""Bytes of memory for all caches together."""

MAX_SESSIONS = 10_000
"""Sessions that a snapshot from a cache may have."""

TRIES = 3
"""Times that a snapshot is tried while its sessions change."""


class _Slot:
    """One board's place in the pool; a Listener of its hub, for the cache."""

    def __init__(self, remove: Callable[[], object]) -> None:
        """Make a slot that calls `remove` when its hub ends."""
        self.cache: Cache | None = None
        self.loading: asyncio.Task[None] | None = None
        self.too_large = False
        """Whether the board did not fit the budget."""
        self._remove = remove

    def committed(self, commit: Commit) -> None:
        """Update the cache. One that is not valid any more, or that nobody reads, is dropped."""
        if self.cache:
            self.cache.committed(commit)
            if not self.cache.useful:
                self.cache = None

    def ended(self) -> None:
        """Leave the pool: another board may take this one's name."""
        self.evict()
        self._remove()

    def evict(self) -> None:
        """Drop the cache, and stop loading it."""
        if self.loading:
            self.loading.cancel()
        self.cache = None


class CachePool:
    """Owns the watch caches and the tasks that load them.

    A read returns None if the board has no loaded cache: ask the store instead. The pool then
    loads a cache for later reads.

    Other reads see a commit in the store a moment before the hub receives it. Each read here
    waits until the hub has caught up, so it never returns an older state than an earlier read.
    """

    def __init__(self, store: Store, hubs: Hubs) -> None:
        self._store = store
        self._hubs = hubs
        self._slots: OrderedDict[Hub, _Slot] = OrderedDict()  # the least recently read first
        self._reads = 0  # since the memory was last summed up
        self._load_lock = asyncio.Lock()
        self._tasks = Tasks()

    async def list_contracts(self, board: str, listed: Listed) -> bytes | None:
        """Return an encoded ListContractsResponse of all contracts."""
        hub = await self._hubs.caught_up(board)
        cache = self._read(hub)
        return cache.list_contracts(listed, hub.revision) if cache else None

    async def size(self, board: str) -> int:
        """Return the size of a snapshot in bytes, about the size if the store must make it."""
        cache = self._read(await self._hubs.of(board))
        return cache.size if cache else await self._store.snapshot_size(board)

    async def snapshot(self, board: str) -> EncodedSnapshot | None:
        """Return a snapshot of the board from its cache."""
        for _ in range(TRIES):
            hub = await self._hubs.caught_up(board)
            cache = self._read(hub)
            if cache is None:
                return None
            if not cache.sessions:
                return cache.snapshot(hub.board_id, hub.revision, ())
            # The cache knows which sessions are open; only the store knows when they expire.
            page = await self._store.list_sessions(board, PageRequest(MAX_SESSIONS))
            if page.next:
                return None
            hub = await self._hubs.caught_up(board)
            same = self._read(hub) is cache
            if same and cache.sessions_changed <= page.revision:
                return cache.snapshot(hub.board_id, hub.revision, page.items)
        return None

    async def stored(self, board: str) -> EncodedSnapshot:
        """Return a snapshot that the store makes."""
        read = await self._store.get_snapshot(board)
        return EncodedSnapshot(await asyncio.to_thread(responses.encoded_snapshot, read), b"")

    async def close(self) -> None:
        """Cancel the loading of caches, and wait until it has ended."""
        await self._tasks.close()

    def _read(self, hub: Hub) -> Cache | None:
        """Return the board's cache if it is loaded; start to load it if there is none."""
        if hub.over:
            return None
        slot = self._slots.get(hub) or self._add(hub)
        self._slots.move_to_end(hub)
        self._reads += 1
        if self._reads >= len(self._slots):  # rarely: it sums the memory of all slots
            self._make_room()
        if not (slot.cache or slot.loading or slot.too_large):
            slot.loading = self._tasks.start(self._load(hub.board, slot))
            slot.loading.add_done_callback(partial(self._loaded, slot))
        if slot.cache is None or not slot.cache.loaded:
            return None
        slot.cache.unread = 0
        return slot.cache

    def _add(self, hub: Hub) -> _Slot:
        slot = self._slots[hub] = _Slot(partial(self._slots.pop, hub))
        hub.listen(slot)
        return slot

    async def _load(self, board: str, slot: _Slot) -> None:
        """Load a cache, one at a time: the memory that it takes is known only as it grows."""
        async with self._load_lock:
            cache = slot.cache = Cache()
            with suppress(BoardError):  # the next read of the board reports it
                slot.too_large = not await cache.load(self._store, board, BUDGET)

    def _loaded(self, slot: _Slot, _: asyncio.Task[None]) -> None:
        slot.loading = None
        if slot.cache and not slot.cache.loaded:
            slot.cache = None
        self._make_room()

    def _make_room(self) -> None:
        """Evict the caches that have not been read for longest until the others fit BUDGET."""
        self._reads = 0
        cached = [(slot, slot.cache.weight) for slot in self._slots.values() if slot.cache]
        excess = sum(weight for _, weight in cached) - BUDGET
        for slot, weight in cached:
            if excess <= 0:
                break
            excess -= weight
            slot.evict()
