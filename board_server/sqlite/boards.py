"""Boards: which boards of a directory are open.

A file is opened at the first call that names its board, and closed when nobody uses it.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

from board_server.errors import BoardNotFound, BoardReplaced, ShuttingDown, StoreUnavailable
from board_server.sqlite.board import OpenBoard
from board_server.sqlite.directory import Directory
from board_server.sqlite.files import BoardFiles
from board_server.sqlite.settings import Settings

PATROL = 1.0
"""Seconds between two looks at the open boards: are their files there, does anybody use them."""

log = logging.getLogger(__name__)


class Boards:
    """Opens and closes boards, one at a time.

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
        self._turn = asyncio.Lock()  # to open or close one
        self._openings: set[asyncio.Task[None]] = set()
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
            # In a task of its own: a caller that goes leaves nothing half open or half closed.
            opening = asyncio.create_task(self._open(name, create=create))
            self._openings.add(opening)
            opening.add_done_callback(self._opened)
            await asyncio.shield(opening)

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
        async with self._turn:  # a file that is being opened is closed too
            if self._patrol:
                self._patrol.cancel()
            await asyncio.gather(*(board.close(ShuttingDown()) for board in self._boards.values()))
            self._boards.clear()
        await asyncio.gather(*self._openings, *filter(None, [self._patrol]), return_exceptions=True)

    async def _open(self, name: str, *, create: bool) -> None:
        async with self._turn:
            self.refuse_if_closed()
            await self._drop_if_replaced(name)
            if name in self._boards:
                return
            path = self._directory.file(name)
            if not create and not path.exists():
                raise BoardNotFound(name)
            await self._make_room()
            files = await asyncio.to_thread(BoardFiles, path, self._settings)
            self._boards[name] = OpenBoard(name, files, self._settings)
            self._patrol = self._patrol or asyncio.create_task(self._look_after_all())

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._openings.discard(opening)
        if not opening.cancelled():
            opening.exception()  # that of a caller who has gone is nobody's

    async def _drop_if_replaced(self, name: str) -> None:
        """Let go of a board whose file was deleted or made anew."""
        board = self._boards.get(name)
        if board and not board.intact():
            log.warning("the file of board %s was deleted or made anew", name)
            del self._boards[name]
            await board.close(BoardReplaced(""))

    async def _make_room(self) -> None:
        """Close the board that was not used for longest, where as many are open as may be."""
        if len(self._boards) < self._most:
            return
        resting = [board for board in self._boards.values() if self._may_close(board)]
        if not resting:
            raise StoreUnavailable(
                f"as many boards are in use as may be open, {self._most:,}; "
                "retry, or raise max_boards"
            )
        await self._lay_to_rest(min(resting, key=lambda board: board.used_at))

    def _may_close(self, board: OpenBoard) -> bool:
        return board.name != self._stays and board.at_rest

    async def _lay_to_rest(self, board: OpenBoard) -> None:
        reason = StoreUnavailable(f"board {board.name} was closed, for nobody used it; retry")
        del self._boards[board.name]
        board.dismiss(reason)
        await board.close(reason)

    async def _look_after_all(self) -> None:
        while True:
            await asyncio.sleep(PATROL)
            async with self._turn:
                for board in list(self._boards.values()):
                    try:
                        await self._look_after(board)
                    except Exception:  # whatever it is, it must not be the last look
                        log.exception("cannot look after board %s", board.name)

    async def _look_after(self, board: OpenBoard) -> None:
        await self._drop_if_replaced(board.name)
        unused = time.monotonic() - board.used_at >= self._rest
        if unused and board.name in self._boards and self._may_close(board):
            await self._lay_to_rest(board)
