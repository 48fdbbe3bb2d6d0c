"""An open board: its files, writer, reading connections, and leases."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import apsw

from board_server.errors import BoardError, SessionExpired
from board_server.model import (
    BoardInfo,
    BoardStats,
    Cause,
    Change,
    Commit,
    IdempotencyKey,
    OnExpiry,
    Page,
    Revised,
    Session,
)
from board_server.sqlite import queries, rows, sessions
from board_server.sqlite.connection import TooManySteps, limit_steps
from board_server.sqlite.files import BoardFiles
from board_server.sqlite.identity import Damage
from board_server.sqlite.leases import Leases
from board_server.sqlite.meta import info, revision
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import StorageErrorLog
from board_server.sqlite.transaction import Transaction
from board_server.sqlite.writer import Writer
from board_server.store import Follower

T = TypeVar("T")

RECENT = 0.05
"""Seconds for which a check of the files is valid: a check costs as much as a point read."""

SHORT_QUERY = 20_000
"""Steps of SQLite, about a millisecond, that a query may take on the event loop."""


class OpenBoard:
    """A board that only this process serves.

    Writes run in the writer's thread. Point reads run on the event loop, with a connection
    of its own. Reads of many rows run in another thread, so that they block nothing else.
    """

    def __init__(self, name: str, files: BoardFiles, settings: Settings) -> None:
        self.name = name
        self._files = files
        self._checked_at = self.used_at = time.monotonic()
        self._scanning = 0
        self._followers: list[Follower] = []
        self._errors = StorageErrorLog(files.path)
        self._info_at_opening = self.info()
        self._writer = Writer(files, settings, self._committed, self._errors, name)
        self._scans = ThreadPoolExecutor(1, thread_name_prefix=f"scans {name}")
        expire = partial(self._end_session, cause=Cause.SESSION_EXPIRED)
        self._leases = Leases(expire, settings.expire_after)
        for session_id, ttl in files.sessions:
            self._leases.start(session_id, ttl)

    def intact(self) -> bool:
        """Return whether the files are still those that were opened, and the writer works."""
        self._checked_at = time.monotonic()
        return self.failure is None and self.damage() is None

    @property
    def failure(self) -> BoardError | None:
        """Why the board has to be reopened; None if it works."""
        return self._writer.failure

    def damage(self) -> Damage | None:
        """Return what another program did to the files; None if nothing."""
        return self._files.identity.damage()

    @property
    def last_served(self) -> BoardInfo:
        """The board and the revision of its last commit, from memory instead of the files."""
        return replace(self._info_at_opening, revision=self._writer.revision)

    @property
    def idle(self) -> bool:
        """Whether there is no call in progress, no session, no watch and no waiter."""
        needed = any(follower.needed for follower in self._followers)
        return self._writer.idle and not (self._scanning or self._leases.active or needed)

    def recently_intact(self) -> bool:
        """Return whether the files were intact within the last RECENT seconds."""
        return time.monotonic() - self._checked_at < RECENT

    async def write(
        self,
        work: Callable[[Transaction], T],
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[T]:
        """Run a write in a transaction, if its session is alive; return when it is synced."""

        @rows.reading()
        def checked(tx: Transaction) -> T:
            if session_id:
                sessions.require(tx, session_id)
            return work(tx)

        return await self._writer.write(checked, key)

    def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """Run a query of a few rows on the event loop."""
        try:
            with rows.reading():
                return query(self._files.reading)
        except apsw.Error as error:
            raise self._errors.translate(error) from error

    def read_revised(self, query: Callable[[apsw.Connection], T]) -> Revised[T]:
        """Run queries of a few rows at one revision, on the event loop."""
        return self.read(lambda db: _at_one_revision(db, lambda db, at: Revised(query(db), at)))

    async def read_or_scan(self, query: Callable[[apsw.Connection], T]) -> Revised[T]:
        """Run a query at one revision, on the event loop if it is short, otherwise in a thread."""

        def at_once(db: apsw.Connection) -> T:
            with limit_steps(db, SHORT_QUERY):
                return query(db)

        try:
            return self.read_revised(at_once)
        except TooManySteps:
            return await self.scan(lambda db, revision: Revised(query(db), revision))

    async def scan(self, query: Callable[[apsw.Connection, int], T]) -> T:
        """Run a query of many rows at one revision, in a thread."""
        self._scanning += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._scans, _at_one_revision, self._files.scanning, query
            )
        except apsw.Error as error:
            raise self._errors.translate(error) from error
        finally:
            self._scanning -= 1

    def info(self) -> BoardInfo:
        """Read the board's name, ID, revision and time of creation."""
        return self.read(lambda db: info(db, self.name))

    def follow(self, follower: Follower) -> BoardInfo:
        """Store.follow."""
        info = self.info()
        # The follower is also notified of commits that are already in the file but not yet
        # delivered; it skips them by their revision.
        self._followers.append(follower)
        return info

    async def open_session(
        self, worker: str, ttl: timedelta, on_expiry: OnExpiry, key: IdempotencyKey | None
    ) -> Revised[Session]:
        """Store.open_session."""
        work = partial(sessions.open_session, worker=worker, ttl=ttl, on_expiry=on_expiry)
        session, revision = await self.write(work, key=key)
        return Revised(self._with_expiry(session), revision)

    def renew_session(self, session_id: str) -> Revised[Session]:
        """Store.renew_session."""
        self._leases.renew(session_id)
        session, revision = self.read_revised(partial(sessions.get, session_id=session_id))
        if session is None:
            raise SessionExpired(session_id)
        return Revised(self._with_expiry(session), revision)

    async def close_session(self, session_id: str, key: IdempotencyKey | None) -> Revised[int]:
        """Store.close_session."""
        return await self._end_session(session_id, Cause.SESSION_CLOSED, key)

    def get_session(self, session_id: str) -> Session | None:
        """Store.get_session."""
        session = self.read(partial(sessions.get, session_id=session_id))
        return self._with_expiry(session) if session else None

    async def list_sessions(
        self, query: Callable[[apsw.Connection, int], Page[Session]]
    ) -> Page[Session]:
        """Store.list_sessions."""
        page = await self.scan(query)
        return replace(page, items=self.with_expiry(page.items))

    def with_expiry(self, listed: list[Session]) -> list[Session]:
        """Return sessions, as read from the table, with the time when each expires."""
        return [self._with_expiry(session) for session in listed]

    def _with_expiry(self, session: Session) -> Session:
        return replace(session, expires_at=self._leases.expires_at(session.session_id))

    async def _end_session(
        self, session_id: str, cause: Cause, key: IdempotencyKey | None = None
    ) -> Revised[int]:
        work = partial(sessions.end, session_id=session_id, cause=cause)
        return await self.write(work, key=key)

    async def stats(self) -> BoardStats:
        """Store.stats, of this board."""
        revision, phases, contracts, claims, sessions = await self.scan(queries.counts)
        return BoardStats(
            board=self.name,
            revision=revision,
            phases=phases,
            contracts=contracts,
            claims=claims,
            sessions=sessions,
            writer_queue=self._writer.waiting,
            wal_bytes=self._files.wal_bytes(),
        )

    def _committed(self, commit: Commit) -> None:
        for event in commit.events:
            if isinstance(event.record, Session):
                self._update_lease(event.change, event.record)
        for follower in self._followers:
            follower.committed(commit)

    def _update_lease(self, change: Change, session: Session) -> None:
        """Start or stop a session's lease, even if its caller was cancelled."""
        if change is Change.SESSION_OPENED:
            self._leases.start(session.session_id, session.ttl)
        else:
            self._leases.stop(session.session_id)

    def end_followers(self, reason: BoardError) -> None:
        """Notify the followers that no more commits come, and why."""
        for follower in self._followers:
            follower.ended(reason)
        self._followers.clear()

    async def close(self, reason: BoardError) -> None:
        """Finish the writer's calls, end the followers with the reason, and close the files."""
        async with AsyncExitStack() as last_first:  # each runs even if another fails
            last_first.push_async_callback(asyncio.to_thread, self._files.close)
            last_first.push_async_callback(asyncio.to_thread, self._scans.shutdown)
            last_first.callback(self.end_followers, reason)
            last_first.push_async_callback(self._leases.close)
            last_first.push_async_callback(self._writer.close)


@rows.reading()
def _at_one_revision(db: apsw.Connection, query: Callable[[apsw.Connection, int], T]) -> T:
    db.execute("BEGIN")
    try:
        return query(db, revision(db))
    finally:
        if db.in_transaction:  # on some errors SQLite has ended it already
            db.execute("COMMIT")
