"""SqliteStore: the Store over a directory of board files."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import apsw

from board_server.errors import (
    BoardNotFound,
    BoardReplaced,
    ShuttingDown,
    StoreUnavailable,
)
from board_server.model import (
    Archived,
    BoardInfo,
    BoardStats,
    Commit,
    Completed,
    Completion,
    Condition,
    Contract,
    ContractDraft,
    ContractFilter,
    Evidence,
    FileClaim,
    OnExpiry,
    Page,
    PageRequest,
    Phase,
    PhaseChange,
    PhaseState,
    Revised,
    Session,
    Snapshot,
    is_board_name,
)
from board_server.sqlite import (
    archive,
    claims,
    completion,
    contracts,
    events,
    overview,
    phases,
    sessions,
)
from board_server.sqlite.board import OpenBoard
from board_server.sqlite.connection import connect, require_safe_sqlite
from board_server.sqlite.contracts import publish_batch
from board_server.sqlite.files import BoardFiles, info
from board_server.sqlite.migrate import check
from board_server.sqlite.settings import (
    Clock,
    OnCommit,
    Settings,
    Synchronous,
    unobserved,
    utc_now,
)
from board_server.store import Follower

SUFFIX = ".board.db"

PATROL = 1.0
"""Seconds between two looks at the open boards: are their files there, does anybody use them."""

REST = 600.0
"""Seconds without a call after which a board is closed that nobody watches either."""

log = logging.getLogger(__name__)


class SqliteStore:
    """The boards of one directory. A file is opened at the first call that names its board."""

    def __init__(
        self,
        directory: Path,
        *,
        synchronous: Synchronous = "full",
        keep_revisions: int = 100_000,
        clock: Clock = utc_now,
        max_queue: int = 10_000,
        max_boards: int = 256,
        rest: float = REST,
        stays: str = "",
        on_commit: OnCommit = unobserved,
    ) -> None:
        """Make the directory if need be. Raises StoreUnavailable where that cannot be done.

        A board that nobody has used for `rest` seconds is closed. Where `max_boards` are open and
        another is called for, so is the one unused for longest. The next call opens it again. The
        board named `stays` is never closed.
        """
        require_safe_sqlite()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"{directory}: {error.strerror}") from error
        self._directory = directory
        self._settings = Settings(synchronous, keep_revisions, clock, max_queue, on_commit)
        self._boards: dict[str, OpenBoard] = {}
        self._opening = asyncio.Lock()
        self._openings: set[asyncio.Task[None]] = set()
        self._max_boards = max_boards
        self._rest = rest
        self._stays = stays
        self._closed = False
        self._patrol: asyncio.Task[None] | None = None

    async def open_board(self, board: str) -> BoardInfo:
        return (await self._board(board, create=True)).info()

    async def get_board(self, board: str) -> BoardInfo:
        return (await self._board(board)).info()

    async def list_boards(
        self, page: PageRequest, among: Collection[str] | None = None
    ) -> Page[BoardInfo]:
        self._refuse_if_closed()
        return await asyncio.to_thread(self._list_boards, page, among)

    async def set_phase_state(
        self, board: str, change: PhaseChange, request_id: str = ""
    ) -> Revised[Phase]:
        work = partial(phases.set_state, change=change)
        return await (await self._board(board)).write(work, change.session_id, request_id)

    async def get_phase_state(self, board: str, phase_id: str) -> Phase | None:
        return (await self._reading(board)).read(partial(phases.get, phase_id=phase_id))

    async def list_phases(
        self, board: str, states: Sequence[PhaseState], page: PageRequest
    ) -> Page[Phase]:
        query = partial(phases.list_page, states=states, page=page)
        return await (await self._board(board)).scan(query)

    async def publish_contract(
        self,
        board: str,
        contract: ContractDraft,
        session_id: str = "",
        request_id: str = "",
    ) -> Revised[Contract]:
        work = partial(contracts.publish, draft=contract)
        return await (await self._board(board)).write(work, session_id, request_id)

    async def publish_contracts(
        self,
        board: str,
        contracts: Sequence[ContractDraft],
        session_id: str = "",
        request_id: str = "",
    ) -> Revised[int]:
        work = partial(publish_batch, drafts=contracts)
        return await (await self._board(board)).write(work, session_id, request_id)

    async def list_contracts(
        self, board: str, where: ContractFilter, page: PageRequest
    ) -> Page[Contract]:
        query = partial(contracts.list_page, where=where, page=page)
        return await (await self._board(board)).scan(query)

    async def claim_file(
        self,
        board: str,
        filepath: str,
        owner: str,
        session_id: str = "",
        request_id: str = "",
    ) -> Revised[FileClaim]:
        (claim,), revision = await self.claim_files(
            board, [filepath], owner, session_id, request_id
        )
        return Revised(claim, revision)

    async def claim_files(
        self,
        board: str,
        filepaths: Sequence[str],
        owner: str,
        session_id: str = "",
        request_id: str = "",
    ) -> Revised[list[FileClaim]]:
        work = partial(claims.claim_all, filepaths=filepaths, owner=owner, session_id=session_id)
        return await (await self._board(board)).write(work, session_id, request_id)

    async def release_claims(
        self, board: str, owner: str, filepaths: Sequence[str], request_id: str = ""
    ) -> Revised[int]:
        work = partial(claims.release, owner=owner, filepaths=filepaths)
        return await (await self._board(board)).write(work, request_id=request_id)

    async def get_file_owner(self, board: str, filepath: str) -> str:
        return (await self._reading(board)).read(partial(claims.owner_of, filepath=filepath))

    async def list_claims(
        self, board: str, owner: str | None, page: PageRequest
    ) -> Page[FileClaim]:
        query = partial(claims.list_page, owner=owner, page=page)
        return await (await self._board(board)).scan(query)

    async def complete_phase(
        self, board: str, ended: Completion, request_id: str = ""
    ) -> Revised[Completed]:
        work = partial(completion.complete, completion=ended)
        return await (await self._board(board)).write(work, ended.session_id, request_id)

    async def get_snapshot(self, board: str) -> Snapshot:
        opened = await self._board(board)
        snapshot = await opened.scan(overview.snapshot)
        return replace(snapshot, sessions=opened.dated(snapshot.sessions))

    async def find(self, board: str, conditions: Sequence[Condition]) -> Revised[list[Evidence]]:
        query = partial(overview.find, conditions=conditions)
        return (await self._board(board)).read_revised(query)

    async def open_session(
        self,
        board: str,
        worker: str,
        ttl: timedelta,
        on_expiry: OnExpiry,
        request_id: str = "",
    ) -> Revised[Session]:
        return await (await self._board(board)).open_session(worker, ttl, on_expiry, request_id)

    async def renew_session(self, board: str, session_id: str) -> Revised[Session]:
        return (await self._board(board)).renew_session(session_id)

    async def close_session(
        self, board: str, session_id: str, request_id: str = ""
    ) -> Revised[int]:
        return await (await self._board(board)).close_session(session_id, request_id)

    async def list_sessions(self, board: str, page: PageRequest) -> Page[Session]:
        return await (await self._board(board)).list_sessions(
            partial(sessions.list_page, page=page)
        )

    async def archive_board(
        self, board: str, revision: int, request_id: str = ""
    ) -> Revised[Archived]:
        work = partial(archive.empty, revision=revision)
        return await (await self._board(board)).write(work, request_id=request_id)

    async def get_session(self, board: str, session_id: str) -> Session | None:
        return (await self._board(board)).get_session(session_id)

    async def follow(self, board: str, follower: Follower) -> BoardInfo:
        return (await self._board(board)).follow(follower)

    async def list_events(self, board: str, after: int, upto: int) -> list[Commit]:
        query = partial(events.list_commits, after=after, upto=upto)
        return await (await self._board(board)).scan(lambda db, _: query(db))

    async def stats(self) -> list[BoardStats]:
        asked = [board.stats() for board in self._boards.values()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, BoardStats)]

    async def close(self) -> None:
        self._closed = True
        async with self._opening:  # a file that is being opened is closed too
            if self._patrol:
                self._patrol.cancel()
            await asyncio.gather(*(board.close(ShuttingDown()) for board in self._boards.values()))
            self._boards.clear()
        await asyncio.gather(*self._openings, *filter(None, [self._patrol]), return_exceptions=True)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ShuttingDown

    async def _board(self, name: str, *, create: bool = False) -> OpenBoard:
        """Return the board, opened if need be: that of the file which is there now."""
        while True:
            self._refuse_if_closed()
            board = self._boards.get(name)
            if board and board.intact():
                board.used_at = time.monotonic()
                return board
            # In a task of its own: a caller that goes leaves nothing half open or half closed.
            opening = asyncio.create_task(self._open(name, create=create))
            self._openings.add(opening)
            opening.add_done_callback(self._opened)
            await asyncio.shield(opening)

    async def _open(self, name: str, *, create: bool) -> None:
        async with self._opening:
            self._refuse_if_closed()
            await self._drop_if_replaced(name)
            if name in self._boards:
                return
            path = self._path(name)
            if not create and not path.exists():
                raise BoardNotFound(name)
            await self._make_room()
            files = await asyncio.to_thread(BoardFiles, path, self._settings)
            self._boards[name] = OpenBoard(name, files, self._settings)
            self._patrol = self._patrol or asyncio.create_task(self._look_after_boards())

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._openings.discard(opening)
        if not opening.cancelled():
            opening.exception()  # that of a caller who has gone is nobody's

    async def _reading(self, name: str) -> OpenBoard:
        """Return the board for a read of one row: that of a moment ago will do."""
        self._refuse_if_closed()
        board = self._boards.get(name)
        return board if board and board.lately_intact() else await self._board(name)

    async def _drop_if_replaced(self, name: str) -> None:
        """Let go of a board whose file was deleted or made anew."""
        board = self._boards.get(name)
        if board and not board.intact():
            log.warning("the file of board %s was deleted or made anew", name)
            del self._boards[name]
            await board.close(BoardReplaced(""))

    async def _make_room(self) -> None:
        """Close the board that was not used for longest, where as many are open as may be."""
        if len(self._boards) < self._max_boards:
            return
        resting = [board for board in self._boards.values() if self._may_close(board)]
        if not resting:
            raise StoreUnavailable(
                f"as many boards are in use as may be open, {self._max_boards:,}; "
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

    async def _look_after_boards(self) -> None:
        while True:
            await asyncio.sleep(PATROL)
            async with self._opening:
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

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{SUFFIX}"

    def _list_boards(self, page: PageRequest, among: Collection[str] | None) -> Page[BoardInfo]:
        after = str(page.after[0]) if page.after else ""
        found = (path.name.removesuffix(SUFFIX) for path in self._directory.glob(f"*{SUFFIX}"))
        names = sorted(
            name
            for name in found
            if name > after and is_board_name(name) and (among is None or name in among)
        )
        wanted = names[: page.size]
        boards = [board for name in wanted if (board := self._peek(name))]
        return Page(boards, 0, (wanted[-1],) if len(names) > len(wanted) else None)

    def _peek(self, name: str) -> BoardInfo | None:
        """Read about a board without opening it for service; None if it cannot be read."""
        path = self._path(name)
        try:
            connection = connect(path)
            try:
                check(connection)
                if not connection.table_exists(None, "meta"):
                    # Made by quasar's own store, not served here yet.
                    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    return BoardInfo(name, "", 0, made)
                return info(connection, name)
            finally:
                connection.close()
        except (apsw.Error, OSError, StoreUnavailable) as error:
            log.warning("left out of the list of boards: %s: %s", path, error)
            return None
