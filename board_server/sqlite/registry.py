"""Boards: which boards of a directory are open.

A file is opened at the first call that names its board, and closed when nobody uses it.
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
from board_server.sqlite.storage_errors import OpeningTrouble

PATROL = 1.0
"""Seconds between two looks at the open boards: are their files there, does anybody use them."""

log = logging.getLogger(__name__)


class Boards:
    """Opens and closes boards, each by itself: one that is slow to open holds no other up.

    A board that nobody has used for `rest` seconds is closed. Where `most` are open and another
    is called for, so is the one unused for longest. The board named `stays` is never closed.
    """

    def __init__(
        self, directory: Directory, settings: Settings, most: int, rest: float, stays: str
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._most = most
        self._rest = rest
        self._stays = stays
        # One for each board that may be open: however many are slow to open, the next is not.
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="opens boards")
        self._boards: dict[str, OpenBoard] = {}
        self._changes: dict[str, asyncio.Task[None]] = {}  # boards being opened or closed
        self._wanted: Counter[str] = Counter()  # callers that wait for a board
        self._to_create: Counter[str] = Counter()  # those of them that create it if it is absent
        self._served: dict[str, BoardInfo] = {}  # boards whose files were damaged, until reopened
        self._trouble = OpeningTrouble()
        self._closed = False
        self._patrol: asyncio.Task[None] | None = None

    async def get(self, name: str, *, create: bool = False) -> OpenBoard:
        """Return the board, opened if need be: that of the file which is there now.

        To be called at once: after an await of anything else it may be closed. Raises
        BoardNotFound where there is no file and none is to be made, StoreUnavailable, StoreFull
        and ShuttingDown.
        """
        while True:
            self.refuse_if_closed()
            board = self._boards.get(name)
            if board and board.intact():
                board.used_at = time.monotonic()
                return board
            with _counted(self._wanted, name), _counted(self._to_create, name, create):
                change = self._changes.get(name) or self._change(name, self._open(name))
                try:
                    await asyncio.shield(change)
                except BoardNotFound:
                    if not create:  # else the file was looked for before we came
                        raise

    async def get_for_a_row(self, name: str) -> OpenBoard:
        """Return the board for a read of one row: that of a moment ago will do."""
        self.refuse_if_closed()
        board = self._boards.get(name)
        return board if board and board.lately_intact() else await self.get(name)

    def open(self) -> Iterable[OpenBoard]:
        """Tell which are open now."""
        return self._boards.values()

    def refuse_if_closed(self) -> None:
        """Raise ShuttingDown once all are closed."""
        if self._closed:
            raise ShuttingDown

    async def close(self) -> None:
        """Close all, with what was accepted done; from now on none is opened."""
        self._closed = True
        await self._changes_made()  # a file that is being opened is closed too
        if self._patrol:
            self._patrol.cancel()
            await asyncio.gather(self._patrol, return_exceptions=True)
        for board in list(self._boards.values()):
            self._close(board, ShuttingDown())
        await self._changes_made()
        self._threads.shutdown(wait=False)  # none is at work any more

    async def _changes_made(self) -> None:
        while pending := [change for change in self._changes.values() if not change.done()]:
            await asyncio.wait(pending)

    def _change(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Open or close a board in a task of its own, which a caller that goes away leaves alone.

        The task removes itself from `_changes` before it ends. So a task that is found there is
        not done, and a loop that awaits it lets others run; no callback has to come first.
        """

        async def change() -> None:
            try:
                await work
            finally:
                del self._changes[name]

        task = self._changes[name] = asyncio.create_task(change())
        task.add_done_callback(_retrieve)
        return task

    async def _open(self, name: str) -> None:
        if board := self._boards.pop(name, None):
            await self._end(board, self._why_closed(board))
        path = self._directory.file(name)
        if name not in self._to_create and not self._directory.has(name):
            raise BoardNotFound(name)
        await self._make_room()
        create = name in self._to_create
        try:
            served = self._served.get(name)
            opening = partial(BoardFiles, path, self._settings, create=create, served=served)
            files = await asyncio.get_running_loop().run_in_executor(self._threads, opening)
        except StorageError as error:
            if not create and not self._directory.has(name):  # it has gone meanwhile
                raise BoardNotFound(name) from None
            # A server that cannot open its default board does not start, and says why itself.
            if self._patrol or name != self._stays:
                self._trouble.note(name, error)
            raise
        self._served.pop(name, None)
        self._trouble.over(name)
        self._directory.opened(name)
        try:
            self._boards[name] = OpenBoard(name, files, self._settings)
        except BaseException:
            files.close()
            raise
        self._patrol = self._patrol or asyncio.create_task(self._look_after_all())

    async def _make_room(self) -> None:
        """Close idle boards, those not used for longest first, until one more may be open."""
        # A board that is being opened or closed has its files open too; one of these is ours.
        while len(self._boards.keys() | self._changes.keys()) > self._most:
            idle = [board for board in self._boards.values() if self._may_close(board)]
            if not idle:
                raise StoreUnavailable(
                    f"as many boards are in use as may be open, {self._most:,}; "
                    "retry, or raise max_boards"
                )
            await self._evict(min(idle, key=lambda board: board.used_at))

    def _may_close(self, board: OpenBoard) -> bool:
        name = board.name
        needed = name == self._stays or name in self._wanted or name in self._changes
        return not needed and board.idle

    def _evict(self, board: OpenBoard) -> asyncio.Task[None]:
        """Close an idle board; a follower that nobody needs is ended at once."""
        reason = StoreUnavailable(f"board {board.name} was closed, for nobody used it; retry")
        board.dismiss(reason)
        return self._close(board, reason)

    def _close(self, board: OpenBoard, reason: BoardError) -> asyncio.Task[None]:
        """Begin to close a board; `get` does not return it from here on."""
        del self._boards[board.name]
        return self._change(board.name, self._end(board, reason))

    async def _end(self, board: OpenBoard, reason: BoardError) -> None:
        try:
            await board.close(reason)
        except Exception:
            log.exception("cannot close board %s", board.name)
        self._settings.on_close(board.name)

    async def _look_after_all(self) -> None:
        while True:
            await asyncio.sleep(PATROL)
            for board in list(self._boards.values()):
                try:
                    await self._look_after(board)
                except Exception:  # whatever it is, it must not be the last look
                    log.exception("cannot look after board %s", board.name)

    async def _look_after(self, board: OpenBoard) -> None:
        if board.name in self._changes or self._boards.get(board.name) is not board:
            return
        if not board.intact():
            await asyncio.shield(self._close(board, self._why_closed(board)))
        elif time.monotonic() - board.used_at >= self._rest and self._may_close(board):
            await asyncio.shield(self._evict(board))

    def _why_closed(self, board: OpenBoard) -> BoardError:
        """Tell why a board cannot be served any more as it was opened: what its followers hear.

        What another program did to its files is logged.
        """
        if board.failure:
            return board.failure
        self._served[board.name] = board.served
        damage = board.damage() or Damage.REPLACED  # it may have been mended since
        if damage is Damage.REPLACED:
            log.warning("the file of board %s %s", board.name, damage.value)
            return BoardReplaced("")
        log.error("the file of board %s %s; it is opened anew", board.name, damage.value)
        if damage in {Damage.LOG_REMOVED, Damage.OUT_OF_REACH}:
            return StoreUnavailable(f"the board's file {damage.value}; it is opened anew; retry")
        return BoardReplaced("")


@contextmanager
def _counted(counter: Counter[str], name: str, times: int = 1) -> Iterator[None]:
    """Count a name for the time of a `with` block; a name that is not counted is not there."""
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


def _retrieve(change: asyncio.Task[None]) -> None:
    """Mark a task's error as seen: all who waited for it may be gone."""
    if not change.cancelled():
        change.exception()
