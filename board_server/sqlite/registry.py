"""Registry: the open boards of a directory.

A board is opened by the first call that names it, evicted when it is idle, and reopened by the
next call.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from board_server.errors import (
    BoardError,
    BoardNotFound,
    BoardReplaced,
    ShuttingDown,
    StorageError,
    StoreUnavailable,
)
from board_server.model import BoardInfo
from board_server.sqlite.directory import Directory
from board_server.sqlite.files import BoardFiles
from board_server.sqlite.identity import Damage
from board_server.sqlite.open_board import OpenBoard
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import OpenErrorLog

CHECK_INTERVAL = 1.0
"""Seconds between two checks of the open boards, for damaged files and for idle boards."""

log = logging.getLogger(__name__)


class Registry:
    """Opens and closes boards independently: one that is slow to open does not delay another.

    A board that is idle for `idle_timeout` seconds is evicted. When `max_open` boards are open
    and another is needed, the least recently used idle board is evicted. The board named
    `pinned` is never evicted.
    """

    def __init__(
        self,
        directory: Directory,
        settings: Settings,
        max_open: int,
        idle_timeout: float,
        pinned: str,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._max_open = max_open
        self._idle_timeout = idle_timeout
        self._pinned = pinned
        # A thread for each board that may be open, so that slow ones do not block others.
        self._threads = ThreadPoolExecutor(max_open, thread_name_prefix="open-board")
        self._boards: dict[str, OpenBoard] = {}
        self._transitions: dict[str, asyncio.Task[None]] = {}  # boards being opened or closed
        self._waiting: Counter[str] = Counter()  # callers that wait for a board
        self._creating: Counter[str] = Counter()  # those of them that may create it
        self._last_served: dict[str, BoardInfo] = {}  # boards with damaged files, until reopened
        self._errors = OpenErrorLog()
        self._closed = False
        self._checks: asyncio.Task[None] | None = None

    async def get(self, name: str, *, create: bool = False) -> OpenBoard:
        """Return the board of the file that is in the directory now; open it if necessary.

        Use the board before the next await: after that it may be closed. Raises BoardNotFound if
        there is no file and `create` is not set. Raises StoreUnavailable, StoreFull and
        ShuttingDown.
        """
        while True:
            self.refuse_if_closed()
            board = self._boards.get(name)
            if board and board.intact():
                board.used_at = time.monotonic()
                return board
            with _counted(self._waiting, name), _counted(self._creating, name, create):
                task = self._transitions.get(name) or self._begin(name, self._open(name))
                try:
                    await asyncio.shield(task)
                except BoardNotFound:
                    if not create:  # otherwise the attempt began before ours, and did not create it
                        raise

    async def get_for_point_read(self, name: str) -> OpenBoard:
        """Return the board for a read of one row; its files may have been checked a moment ago."""
        self.refuse_if_closed()
        board = self._boards.get(name)
        return board if board and board.recently_intact() else await self.get(name)

    def open_boards(self) -> Iterable[OpenBoard]:
        """Return the boards that are open now."""
        return self._boards.values()

    def refuse_if_closed(self) -> None:
        """Raise ShuttingDown after `close` was called."""
        if self._closed:
            raise ShuttingDown

    async def close(self) -> None:
        """Finish the accepted calls and close all boards; none is opened any more."""
        self._closed = True
        await self._transitions_done()  # a board that is being opened is then closed too
        if self._checks:
            self._checks.cancel()
            await asyncio.gather(self._checks, return_exceptions=True)
        for board in list(self._boards.values()):
            self._close(board, ShuttingDown())
        await self._transitions_done()
        self._threads.shutdown(wait=False)  # all of them are idle

    async def _transitions_done(self) -> None:
        while pending := [task for task in self._transitions.values() if not task.done()]:
            await asyncio.wait(pending)

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Open or close a board in a task, which continues if its callers are cancelled.

        The task removes itself from `_transitions` before it ends, so a task found there is not
        done, and a loop that awaits it yields to the event loop.
        """

        async def run() -> None:
            try:
                await work
            finally:
                del self._transitions[name]

        task = self._transitions[name] = asyncio.create_task(run())
        task.add_done_callback(_retrieve)
        return task

    async def _open(self, name: str) -> None:
        if board := self._boards.pop(name, None):
            await self._end(board, self._why_closed(board))
        path = self._directory.file(name)
        if name not in self._creating and not self._directory.has(name):
            raise BoardNotFound(name)
        await self._make_room()
        create = name in self._creating
        try:
            last_served = self._last_served.get(name)
            opening = partial(
                BoardFiles, path, self._settings, create=create, last_served=last_served
            )
            files = await asyncio.get_running_loop().run_in_executor(self._threads, opening)
        except StorageError as error:
            if not create and not self._directory.has(name):  # it was deleted meanwhile
                raise BoardNotFound(name) from None
            # A server that cannot open its default board does not start, and prints the reason.
            if self._checks or name != self._pinned:
                self._errors.failed(name, error)
            raise
        self._last_served.pop(name, None)
        self._errors.recovered(name)
        self._directory.opened(name)
        try:
            self._boards[name] = OpenBoard(name, files, self._settings)
        except BaseException:
            files.close()
            raise
        self._checks = self._checks or asyncio.create_task(self._check_all())

    async def _make_room(self) -> None:
        """Evict idle boards, least recently used first, until one more may be open."""
        # Boards being opened or closed have open files too; the one to open is among them.
        while len(self._boards.keys() | self._transitions.keys()) > self._max_open:
            idle = [board for board in self._boards.values() if self._evictable(board)]
            if not idle:
                raise StoreUnavailable(
                    f"as many boards are in use as may be open, {self._max_open:,}; "
                    "retry, or raise max_boards"
                )
            await self._evict(min(idle, key=lambda board: board.used_at))

    def _evictable(self, board: OpenBoard) -> bool:
        name = board.name
        needed = name == self._pinned or name in self._waiting or name in self._transitions
        return not needed and board.idle

    def _evict(self, board: OpenBoard) -> asyncio.Task[None]:
        """Close an idle board and end its followers."""
        reason = StoreUnavailable(f"board {board.name} was closed because it was idle; retry")
        board.end_followers(reason)
        return self._close(board, reason)

    def _close(self, board: OpenBoard, reason: BoardError) -> asyncio.Task[None]:
        """Begin to close a board; from now on `get` does not return it."""
        del self._boards[board.name]
        return self._begin(board.name, self._end(board, reason))

    async def _end(self, board: OpenBoard, reason: BoardError) -> None:
        try:
            await board.close(reason)
        except Exception:
            log.exception("cannot close board %s", board.name)
        self._settings.on_close(board.name)

    async def _check_all(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            for board in list(self._boards.values()):
                try:
                    await self._check(board)
                except Exception:  # the next checks must still run
                    log.exception("cannot check board %s", board.name)

    async def _check(self, board: OpenBoard) -> None:
        if board.name in self._transitions or self._boards.get(board.name) is not board:
            return
        if not board.intact():
            await asyncio.shield(self._close(board, self._why_closed(board)))
        elif time.monotonic() - board.used_at >= self._idle_timeout and self._evictable(board):
            await asyncio.shield(self._evict(board))

    def _why_closed(self, board: OpenBoard) -> BoardError:
        """Return why an open board has to be closed, for its followers; log damage to its files."""
        if board.failure:
            return board.failure
        self._last_served[board.name] = board.last_served
        damage = board.damage() or Damage.REPLACED  # it may have been repaired since
        if damage is Damage.REPLACED:
            log.warning("the file of board %s %s", board.name, damage.value)
            return BoardReplaced("")
        log.error("the file of board %s %s; the board is reopened", board.name, damage.value)
        if damage in {Damage.LOG_REMOVED, Damage.OUT_OF_REACH}:
            return StoreUnavailable(
                f"the board's file {damage.value}; the board is reopened; retry"
            )
        return BoardReplaced("")


@contextmanager
def _counted(counter: Counter[str], name: str, times: int = 1) -> Iterator[None]:
    """Count a name during a `with` block; remove it when its count is 0."""
    if not times:
        yield
        return
    counter[name] += times
    try:
        yield
    finally:
        counter[name] -= times
        if not counter[name]:
            del counter[name]


def _retrieve(task: asyncio.Task[None]) -> None:
    """Mark a task's error as retrieved: its callers may all be cancelled."""
    if not task.cancelled():
        task.exception()
