"""SqliteStore: the Store over a directory of board files."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import apsw

from board_server.errors import BoardNotFound, ShuttingDown, StoreUnavailable
from board_server.model import (
    BoardInfo,
    Contract,
    ContractDraft,
    ContractFilter,
    FileClaim,
    Page,
    PageRequest,
    Phase,
    PhaseChange,
    PhaseState,
    Revised,
)
from board_server.sqlite import claims, contracts, phases
from board_server.sqlite.board import Clock, OpenBoard, info
from board_server.sqlite.connection import Synchronous, connect, require_safe_sqlite

SUFFIX = ".board.db"

log = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SqliteStore:
    """The boards of one directory. A file is opened at the first call that names its board."""

    def __init__(
        self, directory: Path, *, synchronous: Synchronous = "full", clock: Clock = _utc_now
    ) -> None:
        """Make the directory if need be. Raises StoreUnavailable where that cannot be done."""
        require_safe_sqlite()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"{directory}: {error.strerror}") from error
        self._directory = directory
        self._synchronous = synchronous
        self._clock = clock
        self._boards: dict[str, OpenBoard] = {}
        self._opening = asyncio.Lock()
        self._closed = False

    async def open_board(self, board: str) -> BoardInfo:
        return (await self._open(board, create=True)).info()

    async def list_boards(self, page: PageRequest) -> Page[BoardInfo]:
        self._refuse_if_closed()
        return await asyncio.to_thread(self._list_boards, page)

    async def set_phase_state(self, board: str, change: PhaseChange) -> Revised[Phase]:
        return await (await self._board(board)).write(partial(phases.set_state, change=change))

    async def get_phase_state(self, board: str, phase_id: str) -> Phase | None:
        return (await self._board(board)).read(partial(phases.get, phase_id=phase_id))

    async def list_phases(
        self, board: str, states: Sequence[PhaseState], page: PageRequest
    ) -> Page[Phase]:
        query = partial(phases.list_page, states=states, page=page)
        return await (await self._board(board)).list_page(query)

    async def publish_contract(self, board: str, contract: ContractDraft) -> Revised[Contract]:
        return await (await self._board(board)).write(partial(contracts.publish, draft=contract))

    async def publish_contracts(
        self, board: str, contracts_: Sequence[ContractDraft]
    ) -> Revised[int]:
        work = partial(contracts.publish_batch, drafts=contracts_)
        return await (await self._board(board)).write(work)

    async def list_contracts(
        self, board: str, where: ContractFilter, page: PageRequest
    ) -> Page[Contract]:
        query = partial(contracts.list_page, where=where, page=page)
        return await (await self._board(board)).list_page(query)

    async def claim_file(self, board: str, filepath: str, owner: str) -> Revised[FileClaim]:
        work = partial(claims.claim, filepath=filepath, owner=owner)
        return await (await self._board(board)).write(work)

    async def release_claims(
        self, board: str, owner: str, filepaths: Sequence[str]
    ) -> Revised[int]:
        work = partial(claims.release, owner=owner, filepaths=filepaths)
        return await (await self._board(board)).write(work)

    async def get_file_owner(self, board: str, filepath: str) -> str:
        return (await self._board(board)).read(partial(claims.owner_of, filepath=filepath))

    async def list_claims(
        self, board: str, owner: str | None, page: PageRequest
    ) -> Page[FileClaim]:
        query = partial(claims.list_page, owner=owner, page=page)
        return await (await self._board(board)).list_page(query)

    async def close(self) -> None:
        self._closed = True
        async with self._opening:  # a file that is being opened is closed too
            await asyncio.gather(*(board.close() for board in self._boards.values()))
            self._boards.clear()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ShuttingDown

    async def _board(self, name: str) -> OpenBoard:
        self._refuse_if_closed()
        return self._boards.get(name) or await self._open(name, create=False)

    async def _open(self, name: str, *, create: bool) -> OpenBoard:
        async with self._opening:
            self._refuse_if_closed()
            if board := self._boards.get(name):
                return board
            path = self._path(name)
            if not create and not path.exists():
                raise BoardNotFound(name)
            board = await OpenBoard.open(path, name, self._synchronous, self._clock)
            self._boards[name] = board
            return board

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{SUFFIX}"

    def _list_boards(self, page: PageRequest) -> Page[BoardInfo]:
        after = str(page.after[0]) if page.after else ""
        found = (path.name.removesuffix(SUFFIX) for path in self._directory.glob(f"*{SUFFIX}"))
        names = sorted((name for name in found if name > after), key=str.encode)
        wanted = names[: page.size]
        boards = [board for name in wanted if (board := self._peek(name))]
        return Page(boards, 0, (wanted[-1],) if len(names) > len(wanted) else None)

    def _peek(self, name: str) -> BoardInfo | None:
        """Read about a board without opening it for service; None if it cannot be read."""
        path = self._path(name)
        try:
            connection = connect(path)
            try:
                if not connection.table_exists(None, "meta"):
                    # Made by quasar's own store, not served here yet.
                    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    return BoardInfo(name, "", 0, made)
                return info(connection, name)
            finally:
                connection.close()
        except (apsw.Error, OSError) as error:
            log.warning("left out of the list of boards: %s: %s", path, error)
            return None
