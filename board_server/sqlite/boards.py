"""Boards: which boards of a directory are open.

A file is opened at the first call that names its board, and closed when nobody uses it.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from board_server.errors import (
    BoardError,
    BoardNotFound,
    BoardReplaced,
    ShuttingDown,
    StoreUnavailable,
)
from board_server.sqlite.board import OpenBoard
from board_server.sqlite.directory import Directory
from board_server.sqlite.files import BoardFiles
from board_server.sqlite.settings import Settings

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
        self._boards: dict[str, OpenBoard] = {}
        # What opens or closes a board, in a task of its own: a caller that goes away leaves
        # nothing half open or half closed.
        self._changes: dict[str, asyncio.Task[None]] = {}
        self._wanted: Counter[str] = Counter()  # callers that wait for a board
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
            change = self._changes.get(name) or self._change(name, self._open(name, create=create))
            with self._waiting_for(name):
                try:
                    await asyncio.shield(change)
                except BoardNotFound:
                    if not create:  # else it was another's, who did not want it made
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

    async def _changes_made(self) -> None:
        while self._changes:
            await asyncio.gather(*self._changes.values(), return_exceptions=True)

    def _change(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        change = self._changes[name] = asyncio.create_task(work)
        change.add_done_callback(partial(self._changed, name))
        return change

    def _changed(self, name: str, change: asyncio.Task[None]) -> None:
        del self._changes[name]
        if not change.cancelled():
            change.exception()  # that of a caller who has gone is nobody's

    @contextmanager
    def _waiting_for(self, name: str) -> Iterator[None]:
        self._wanted[name] += 1
        try:
            yield
        finally:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name]

    async def _open(self, name: str, *, create: bool) -> None:
        if board := self._boards.pop(name, None):
            await self._end(board, _replaced(board))
        path = self._directory.file(name)
        if not create and not path.exists():
            raise BoardNotFound(name)
        await self._make_room()
        try:
            files = await asyncio.to_thread(BoardFiles, path, self._settings, create=create)
        except StoreUnavailable:
            if not create and not path.exists():  # it has gone meanwhile
                raise BoardNotFound(name) from None
            raise
        try:
            self._boards[name] = OpenBoard(name, files, self._settings)
        except BaseException:
            files.close()
            raise
        self._patrol = self._patrol or asyncio.create_task(self._look_after_all())

    async def _make_room(self) -> None:
        """Close boards, those not used for longest first, until one more may be open."""
        # What is being opened or closed has its files open too; one of these is ours.
        while len(self._boards.keys() | self._changes.keys()) > self._most:
            resting = [board for board in self._boards.values() if self._may_close(board)]
            if not resting:
                raise StoreUnavailable(
                    f"as many boards are in use as may be open, {self._most:,}; "
                    "retry, or raise max_boards"
                )
            board = min(resting, key=lambda board: board.used_at)
            await self._lay_to_rest(board)

    def _may_close(self, board: OpenBoard) -> bool:
        name = board.name
        # One that is open since a moment may still be among the changes.
        spoken_for = name == self._stays or name in self._wanted or name in self._changes
        return not spoken_for and board.at_rest

    def _lay_to_rest(self, board: OpenBoard) -> asyncio.Task[None]:
        """Close a board that nobody uses; whoever followed it for nobody knows at once."""
        reason = StoreUnavailable(f"board {board.name} was closed, for nobody used it; retry")
        board.dismiss(reason)
        return self._close(board, reason)

    def _close(self, board: OpenBoard, reason: BoardError) -> asyncio.Task[None]:
        """Begin to close a board; it is not to be had from here on."""
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
            await asyncio.shield(self._close(board, _replaced(board)))
        elif time.monotonic() - board.used_at >= self._rest and self._may_close(board):
            await asyncio.shield(self._lay_to_rest(board))


def _replaced(board: OpenBoard) -> BoardReplaced:
    log.warning("the file of board %s was deleted or made anew", board.name)
    return BoardReplaced("")
