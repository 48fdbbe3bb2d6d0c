"""SqliteStore: the Store over a directory of board files."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

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
    IdempotencyKey,
    OnExpiry,
    Page,
    PageRequest,
    Phase,
    PhaseChange,
    PhaseState,
    Revised,
    Session,
    Snapshot,
)
from board_server.sqlite import (
    archive,
    claims,
    completion,
    contracts,
    events,
    phases,
    queries,
    sessions,
)
from board_server.sqlite.connection import require_safe_sqlite
from board_server.sqlite.contracts import publish_batch
from board_server.sqlite.directory import Directory
from board_server.sqlite.registry import Registry
from board_server.sqlite.settings import (
    Clock,
    OnClose,
    OnCommit,
    Settings,
    Synchronous,
    ignore,
    utc_now,
)
from board_server.store import CaughtUp, Follower

IDLE_TIMEOUT = 600.0
"""Seconds after which an idle board is evicted: no call, session, watch or waiter."""


class SqliteStore:
    """The boards of one directory. A file is opened by the first call that names its board."""

    def __init__(
        self,
        directory: Path,
        *,
        synchronous: Synchronous = "full",
        keep_revisions: int = 100_000,
        keep_bytes: int = 256 * 2**20,
        clock: Clock = utc_now,
        max_queue: int = 10_000,
        max_boards: int = 256,
        idle_timeout: float = IDLE_TIMEOUT,
        pinned: str = "",
        on_commit: OnCommit = ignore,
        on_close: OnClose = ignore,
    ) -> None:
        """Create the directory if it is missing. Raises StoreUnavailable if that fails.

        The events of the last `keep_revisions` are kept, up to `keep_bytes`; the outcomes of
        calls with an idempotency key may take half as many bytes.

        A board that is idle for `idle_timeout` seconds is evicted. When `max_boards` are open and
        another is needed, the least recently used idle board is evicted. The next call reopens
        it. The board named `pinned` is never evicted.
        """
        require_safe_sqlite()
        settings = Settings(
            synchronous, keep_revisions, keep_bytes, clock, max_queue, on_commit, on_close
        )
        self._settings = settings
        self._directory = Directory(directory)
        self._registry = Registry(self._directory, settings, max_boards, idle_timeout, pinned)
        self._open = self._registry.get
        self._open_for_point_read = self._registry.get_for_point_read

    async def open_board(self, board: str) -> BoardInfo:
        return (await self._open(board, create=True)).info()

    async def get_board(self, board: str) -> BoardInfo:
        return (await self._open(board)).info()

    async def list_boards(
        self, page: PageRequest, among: Collection[str] | None = None
    ) -> Page[BoardInfo]:
        self._registry.refuse_if_closed()
        return await self._directory.list_boards(page, among)

    async def set_phase_state(
        self, board: str, change: PhaseChange, key: IdempotencyKey | None = None
    ) -> Revised[Phase]:
        work = partial(phases.set_state, change=change)
        return await (await self._open(board)).write(work, change.session_id, key)

    async def get_phase_state(self, board: str, phase_id: str) -> Phase | None:
        opened = await self._open_for_point_read(board)
        return opened.read(partial(phases.get, phase_id=phase_id))

    async def list_phases(
        self, board: str, states: Sequence[PhaseState], page: PageRequest
    ) -> Page[Phase]:
        query = partial(phases.list_page, states=states, page=page)
        return await (await self._open(board)).scan(query)

    async def publish_contract(
        self,
        board: str,
        contract: ContractDraft,
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[Contract]:
        work = partial(contracts.publish, draft=contract)
        return await (await self._open(board)).write(work, session_id, key)

    async def publish_contracts(
        self,
        board: str,
        contracts: Sequence[ContractDraft],
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[int]:
        work = partial(publish_batch, drafts=contracts)
        return await (await self._open(board)).write(work, session_id, key)

    async def list_contracts(
        self, board: str, where: ContractFilter, page: PageRequest
    ) -> Page[Contract]:
        query = partial(contracts.list_page, where=where, page=page)
        return await (await self._open(board)).scan(query)

    async def claim_file(
        self,
        board: str,
        filepath: str,
        owner: str,
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[FileClaim]:
        (claim,), revision = await self.claim_files(board, [filepath], owner, session_id, key)
        return Revised(claim, revision)

    async def claim_files(
        self,
        board: str,
        filepaths: Sequence[str],
        owner: str,
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[list[FileClaim]]:
        work = partial(claims.claim_all, filepaths=filepaths, owner=owner, session_id=session_id)
        return await (await self._open(board)).write(work, session_id, key)

    async def release_claims(
        self, board: str, owner: str, filepaths: Sequence[str], key: IdempotencyKey | None = None
    ) -> Revised[int]:
        work = partial(claims.release, owner=owner, filepaths=filepaths)
        return await (await self._open(board)).write(work, key=key)

    async def get_file_owner(self, board: str, filepath: str) -> str:
        return (await self._open_for_point_read(board)).read(
            partial(claims.owner_of, filepath=filepath)
        )

    async def list_claims(
        self, board: str, owner: str | None, page: PageRequest
    ) -> Page[FileClaim]:
        query = partial(claims.list_page, owner=owner, page=page)
        return await (await self._open(board)).scan(query)

    async def complete_phase(
        self, board: str, ended: Completion, key: IdempotencyKey | None = None
    ) -> Revised[Completed]:
        work = partial(completion.complete, completion=ended)
        return await (await self._open(board)).write(work, ended.session_id, key)

    async def get_snapshot(self, board: str) -> Snapshot:
        opened = await self._open(board)
        snapshot = await opened.scan(queries.snapshot)
        return replace(snapshot, sessions=opened.with_expiry(snapshot.sessions))

    async def snapshot_size(self, board: str) -> int:
        return await (await self._open(board)).scan(queries.snapshot_size)

    async def find(self, board: str, conditions: Sequence[Condition]) -> Revised[list[Evidence]]:
        query = partial(queries.find, conditions=conditions)
        return await (await self._open(board)).read_or_scan(query)

    async def open_session(
        self,
        board: str,
        worker: str,
        ttl: timedelta,
        on_expiry: OnExpiry,
        key: IdempotencyKey | None = None,
    ) -> Revised[Session]:
        return await (await self._open(board)).open_session(worker, ttl, on_expiry, key)

    async def renew_session(self, board: str, session_id: str) -> Revised[Session]:
        return (await self._open(board)).renew_session(session_id)

    async def close_session(
        self, board: str, session_id: str, key: IdempotencyKey | None = None
    ) -> Revised[int]:
        return await (await self._open(board)).close_session(session_id, key)

    async def list_sessions(self, board: str, page: PageRequest) -> Page[Session]:
        return await (await self._open(board)).list_sessions(partial(sessions.list_page, page=page))

    async def archive_board(
        self, board: str, revision: int, board_id: str = "", key: IdempotencyKey | None = None
    ) -> Revised[Archived]:
        work = partial(archive.empty, revision=revision, board_id=board_id)
        return await (await self._open(board)).write(work, key=key)

    async def get_session(self, board: str, session_id: str) -> Session | None:
        return (await self._open(board)).get_session(session_id)

    async def follow(self, board: str, follower: Follower) -> BoardInfo:
        return (await self._open(board)).follow(follower)

    def expire_after(self, caught_up: CaughtUp) -> None:
        self._settings.caught_up = caught_up

    async def list_events(self, board: str, after: int, upto: int) -> list[Commit]:
        query = partial(events.list_commits, after=after, upto=upto)
        return await (await self._open(board)).scan(lambda db, _: query(db))

    async def stats(self) -> list[BoardStats]:
        asked = [board.stats() for board in self._registry.open_boards()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, BoardStats)]

    async def close(self) -> None:
        await self._registry.close()
        await self._directory.close()
