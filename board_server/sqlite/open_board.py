"""One open board: its files, its writer, its readers, its sessions' countdowns."""

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
from board_server.sqlite.connection import TooManySteps, at_most
from board_server.sqlite.files import BoardFiles
from board_server.sqlite.identity import Damage
from board_server.sqlite.leases import Leases
from board_server.sqlite.meta import info, revision
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import Trouble
from board_server.sqlite.transaction import Transaction
from board_server.sqlite.writer import Writer
from board_server.store import Follower

T = TypeVar("T")

LATELY = 0.05
"""Seconds that a look at the file stands for: a look costs as much as the read of a row."""

SHORT = 20_000
"""Steps of SQLite, about a millisecond, that a query may take on the event loop."""


class OpenBoard:
    """A board that this process alone serves.

    Writes go through the writer's thread. Point reads run at once on a
    connection of the event loop's; whatever reads many rows runs in a thread of
    its own, so that it holds nobody up.
    """

    def __init__(self, name: str, files: BoardFiles, settings: Settings) -> None:
        self.name = name
        self._files = files
        self._looked_at = self.used_at = time.monotonic()
        self._scanning = 0
        self._followers: list[Follower] = []
        self._trouble = Trouble(files.path)
        self._opened = self.info()
        self._writer = Writer(files, settings, self._committed, self._trouble, name)
        self._scans = ThreadPoolExecutor(1, thread_name_prefix=f"scans {name}")
        expire = partial(self._end_session, cause=Cause.SESSION_EXPIRED)
        self._leases = Leases(expire, settings.expire_after)
        for session_id, ttl in files.lived:
            self._leases.start(session_id, ttl)

    def intact(self) -> bool:
        """Tell whether the files are still those that were opened, and the writer works."""
        self._looked_at = time.monotonic()
        return self.failure is None and self.damage() is None

    @property
    def failure(self) -> BoardError | None:
        """Why the board has to be closed and opened again; None if it works."""
        return self._writer.failure

    def damage(self) -> Damage | None:
        """Tell what another program did to the files, if it did."""
        return self._files.identity.damage()

    @property
    def served(self) -> BoardInfo:
        """Which board this is, with the revision of the last commit, whatever the files say."""
        return replace(self._opened, revision=self._writer.revision)

    @property
    def idle(self) -> bool:
        """Whether no call goes on, no session lives, and nobody watches or waits."""
        needed = any(follower.needed for follower in self._followers)
        return self._writer.idle and not (self._scanning or self._leases.any or needed)

    def lately_intact(self) -> bool:
        """Tell whether it was a moment ago, which costs a read nothing."""
        return time.monotonic() - self._looked_at < LATELY

    async def write(
        self,
        work: Callable[[Transaction], T],
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[T]:
        """Run one write call in a transaction, if its session lives; return once it is synced."""

        @rows.reading()
        def checked(tx: Transaction) -> T:
            if session_id:
                sessions.require(tx, session_id)
            return work(tx)

        return await self._writer.write(checked, key)

    def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """Run a query of a few rows, here and now."""
        try:
            with rows.reading():
                return query(self._files.reading)
        except apsw.Error as error:
            raise self._trouble.of(error) from error

    def read_revised(self, query: Callable[[apsw.Connection], T]) -> Revised[T]:
        """Run several queries of a few rows at one revision, here and now."""
        return self.read(lambda db: _at_one_revision(db, lambda db, at: Revised(query(db), at)))

    async def read_or_scan(self, query: Callable[[apsw.Connection], T]) -> Revised[T]:
        """Run a query at one revision, here and now if it is short, else in a thread."""

        def at_once(db: apsw.Connection) -> T:
            with at_most(db, SHORT):
                return query(db)

        try:
            return self.read_revised(at_once)
        except TooManySteps:
            return await self.scan(lambda db, revision: Revised(query(db), revision))

    async def scan(self, query: Callable[[apsw.Connection, int], T]) -> T:
        """Run a query of many rows, in a thread, at one revision of the board."""
        self._scanning += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._scans, _at_one_revision, self._files.scanning, query
            )
        except apsw.Error as error:
            raise self._trouble.of(error) from error
        finally:
            self._scanning -= 1

    def info(self) -> BoardInfo:
        """Tell about the board."""
        return self.read(lambda db: info(db, self.name))

    def follow(self, follower: Follower) -> BoardInfo:
        """Store.follow."""
        info = self.info()
        # What is committed and not yet told is told to this follower too, with a
        # revision that it has already: it passes over those.
        self._followers.append(follower)
        return info

    async def open_session(
        self, worker: str, ttl: timedelta, on_expiry: OnExpiry, key: IdempotencyKey | None
    ) -> Revised[Session]:
        """Store.open_session."""
        work = partial(sessions.open_session, worker=worker, ttl=ttl, on_expiry=on_expiry)
        session, revision = await self.write(work, key=key)
        return Revised(self._dated(session), revision)

    def renew_session(self, session_id: str) -> Revised[Session]:
        """Store.renew_session."""
        self._leases.renew(session_id)
        session, revision = self.read_revised(partial(sessions.get, session_id=session_id))
        if session is None:
            raise SessionExpired(session_id)
        return Revised(self._dated(session), revision)

    async def close_session(self, session_id: str, key: IdempotencyKey | None) -> Revised[int]:
        """Store.close_session."""
        return await self._end_session(session_id, Cause.SESSION_CLOSED, key)

    def get_session(self, session_id: str) -> Session | None:
        """Store.get_session."""
        session = self.read(partial(sessions.get, session_id=session_id))
        return self._dated(session) if session else None

    async def list_sessions(
        self, query: Callable[[apsw.Connection, int], Page[Session]]
    ) -> Page[Session]:
        """Store.list_sessions."""
        page = await self.scan(query)
        return replace(page, items=self.dated(page.items))

    def dated(self, listed: list[Session]) -> list[Session]:
        """Give sessions as the table has them the time at which each now expires."""
        return [self._dated(session) for session in listed]

    def _dated(self, session: Session) -> Session:
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
                self._count_down(event.change, event.record)
        for follower in self._followers:
            follower.committed(commit)

    def _count_down(self, change: Change, session: Session) -> None:
        """Begin or end a countdown with its session, whether or not its caller is still there."""
        if change is Change.SESSION_OPENED:
            self._leases.start(session.session_id, session.ttl)
        else:
            self._leases.stop(session.session_id)

    def dismiss(self, reason: BoardError) -> None:
        """Tell the followers why no commit comes any more."""
        for follower in self._followers:
            follower.ended(reason)
        self._followers.clear()

    async def close(self, reason: BoardError) -> None:
        """End the writer once its calls are done, tell the followers why, let the files go."""
        async with AsyncExitStack() as last_first:  # each, whatever becomes of the others
            last_first.push_async_callback(asyncio.to_thread, self._files.close)
            last_first.push_async_callback(asyncio.to_thread, self._scans.shutdown)
            last_first.callback(self.dismiss, reason)
            last_first.push_async_callback(self._leases.close)
            last_first.push_async_callback(self._writer.close)


@rows.reading()
def _at_one_revision(db: apsw.Connection, query: Callable[[apsw.Connection, int], T]) -> T:
    db.execute("BEGIN")
    try:
        return query(db, revision(db))
    finally:
        if db.in_transaction:  # SQLite may have ended it, on an error that is on its way
            db.execute("COMMIT")
