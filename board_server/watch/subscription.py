"""Subscription: one Watch call, from the revision where it resumes to the error that ends it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from board_server.call_context import Holding
from board_server.errors import BoardError, WatchTooSlow
from board_server.failpoints import failpoint
from board_server.model import Change, Commit
from board_server.watch.encoded_commit import EncodedCommit
from board_server.wire.responses import encoded_bookmark
from board_server.wire.validation import MAX_BATCH_BYTES

MAX_BEHIND = 8 * 2**20
"""Bytes that may wait in a subscription's queue, events of all kinds, before it is too slow."""

MAX_COMMITS_BEHIND = 20_000
"""Commits that may wait in a subscription's queue before it is too slow."""

MAX_MESSAGE = 2**20
"""A message takes further commits until it has this many bytes."""

PAGE = 2 * MAX_BATCH_BYTES
"""Bytes counted for a page of events from the table and one message of it, until their size is
known. Most pages have about 3 MiB, but a single commit may be as large as a batch."""

BOOKMARK = 10.0
"""Seconds without an event after which a bookmark is sent."""

Send = Callable[[bytes], Awaitable[None]]
ListEvents = Callable[[int, int], Awaitable[list[Commit]]]
"""Store.list_events for one board: revisions (after, upto)."""


class Subscription:
    """A queue of commits, and the task that sends them.

    A subscription that resumes first sends commits from the table of events, up to the revision
    at which its queue began. A queue holds only references to the newest commits, so all
    subscriptions of a board together keep no more commits than the slowest one.
    """

    def __init__(
        self,
        kinds: frozenset[Change],
        after: int,
        queued_after: int,
        list_events: ListEvents,
        send: Send,
        holding: Holding,
    ) -> None:
        """Make a subscription to the events of `kinds` after the revision `after`.

        `queued_after` is the board's revision now. `holding` counts the bytes that the call makes
        the server keep in memory.
        """
        self.sent = after
        """The revision up to which all events have been sent."""
        self.size = 0
        """Bytes that wait in the queue."""
        self._kinds = kinds
        self._queued_after = queued_after
        self._list_events = list_events
        self._send = send
        self._holding = holding
        self._queue: deque[EncodedCommit] = deque()
        self._arrived = asyncio.Event()
        self._ended: asyncio.Future[BoardError] = asyncio.get_running_loop().create_future()

    def offer(self, commit: EncodedCommit) -> None:
        """Append a commit to the queue. A queue that grows too long ends the subscription."""
        if self._ended.done() or commit.revision <= self.sent:
            return
        self._queue.append(commit)
        self.size += commit.size
        self._arrived.set()
        too_large = self.size > MAX_BEHIND and len(self._queue) > 1  # one commit may be larger
        if too_large or len(self._queue) > MAX_COMMITS_BEHIND:
            self.end(WatchTooSlow(self.sent))

    def end(self, error: BoardError) -> None:
        """End the subscription with an error; the queue is dropped."""
        if not self._ended.done():
            self._ended.set_result(error)
        self._queue.clear()
        self.size = 0

    async def run(self, board_id: str) -> NoReturn:
        """Send messages until the caller is cancelled. Raises the error that ends the stream."""
        # gRPC cannot end a stream before its first message: send one at once.
        await self._send(encoded_bookmark(self.sent, board_id))
        sending = asyncio.create_task(self._send_all())
        try:
            # A client that does not read blocks `sending`, and the subscription must still end.
            both: set[asyncio.Future[Any]] = {sending, self._ended}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                await sending
            raise self._ended.result()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self) -> None:
        while self.sent < self._queued_after and not self._ended.done():
            await self._resume()
        while not self._ended.done():
            await self._send_next()

    async def _resume(self) -> None:
        """Send one page of commits from the table of events."""
        await self._holding.room(PAGE)
        listed = await self._list_events(self.sent, self._queued_after)
        page = deque(EncodedCommit(commit) for commit in listed)
        del listed
        size = 2 * sum(commit.size for commit in page)  # the page, and a message of it
        self._holding.resize(PAGE, size)
        try:
            if not page:
                self.sent = self._queued_after
            while page:
                commit = page.popleft()
                await commit.encode()
                if self._ended.done():
                    return  # WatchTooSlow names `sent`: nothing may be sent after that
                self.sent = commit.revision
                await self._send(commit.message(self._kinds))
        finally:
            self._holding.resize(size, 0)

    async def _send_next(self) -> None:
        """Send the queued commits in one message, or a bookmark if the queue stays empty."""
        size = await self._next_size()
        await self._holding.room(size)
        message, revision = await self._next_message(size)
        if self._ended.done():
            return  # as in _resume
        failpoint("before-watch-send")
        self._holding.resize(size, len(message))
        self.sent = revision
        try:
            await self._send(message)
        finally:
            self._holding.resize(len(message), 0)

    async def _next_size(self) -> int:
        """Wait for a commit and return the size of the next message; 0 means a bookmark."""
        while not self._queue:
            self._arrived.clear()
            try:
                async with asyncio.timeout(BOOKMARK):
                    await self._arrived.wait()
            except TimeoutError:
                return 0
        return min(self.size, max(self._queue[0].size, MAX_MESSAGE))

    async def _next_message(self, size: int) -> tuple[bytes, int]:
        """Take commits of up to `size` bytes from the queue; return a message and its revision.

        If the queue is empty the message is a bookmark.
        """
        parts: list[bytes] = []
        revision = self.sent
        while self._queue and (not parts or size > 0):
            commit = self._queue[0]
            await commit.encode()
            if self._ended.done():
                break
            self._queue.popleft()
            revision = commit.revision
            self.size -= commit.size
            size -= commit.size
            parts.append(commit.message(self._kinds))
        # Concatenated messages are one message to Protobuf.
        return b"".join(parts) or encoded_bookmark(revision), revision
