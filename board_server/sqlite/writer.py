"""The one writer of a board: a thread that commits all waiting calls together."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import apsw

from board_server.errors import ShuttingDown, StoreUnavailable
from board_server.model import Commit, Revised
from board_server.sqlite import events
from board_server.sqlite.connection import storage_error
from board_server.sqlite.settings import Settings
from board_server.sqlite.transaction import Transaction

T = TypeVar("T")

MAX_BATCH = 256
"""Most calls in one commit; bounds how long the first of them waits for the last."""


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    work: Callable[[Transaction], T]
    reply: asyncio.Future[Revised[T]]


Outcome = Revised[Any] | Exception


class Writer:
    """Runs write calls in the order they came, and answers once they are synced.

    Every call that waits when a commit begins is part of it, within a savepoint
    of its own, so that one call's failure is its own; the commit's failure is
    everyone's. In one hop to the event loop `committed` is told of each
    revision, and then the calls are answered.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        settings: Settings,
        committed: Callable[[Commit], None],
        name: str,
    ) -> None:
        self._db = connection
        self._settings = settings
        self._name = name
        self._committed = committed
        self._revision = int(connection.execute("SELECT revision FROM meta").get)
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call[Any] | None] = SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"writer {name}", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Transaction], T]) -> Revised[T]:
        """Run `work` in the writer's thread; return its value and revision once synced."""
        if self._closing:
            raise ShuttingDown
        if self.waiting >= self._settings.max_queue:
            raise StoreUnavailable(f"{self.waiting:,} writes wait for the board already; retry")
        reply: asyncio.Future[Revised[T]] = self._loop.create_future()
        self._calls.put(_Call(work, reply))
        return await reply

    @property
    def waiting(self) -> int:
        """How many writes no commit has begun with yet."""
        return self._calls.qsize()

    async def close(self) -> None:
        """Commit what was accepted, then end the thread and its connection."""
        self._closing = True
        self._calls.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while batch := self._next_batch():
            started = time.perf_counter()
            outcomes, commits = self._commit(batch)
            self._settings.on_commit(self._name, len(batch), time.perf_counter() - started)
            self._loop.call_soon_threadsafe(self._answer, batch, outcomes, commits)
        self._db.close()

    def _next_batch(self) -> list[_Call[Any]]:
        """Wait for a call and take those behind it; empty when the writer is closed."""
        batch: list[_Call[Any]] = []
        call = self._calls.get()
        while call is not None:
            # A caller that has gone before its work began gets none.
            if not call.reply.cancelled():
                batch.append(call)
            if len(batch) == MAX_BATCH:
                return batch
            try:
                call = self._calls.get(block=not batch)
            except Empty:
                return batch
        if batch:
            self._calls.put(None)  # found the end behind a batch: meet it again
        return batch

    def _commit(self, batch: Sequence[_Call[Any]]) -> tuple[list[Outcome], list[Commit]]:
        before = self._revision
        commits: list[Commit] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(call, commits) for call in batch]
            if commits:
                self._db.execute("UPDATE meta SET revision = ?", (self._revision,))
                events.compact(self._db, self._revision, self._settings.keep_revisions)
            self._db.execute("COMMIT")
        except apsw.Error as error:
            self._revision = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            return [storage_error(error)] * len(batch), []
        return outcomes, commits

    def _attempt(self, call: _Call[Any], commits: list[Commit]) -> Outcome:
        transaction = Transaction(self._db, self._settings.clock(), self._revision)
        self._db.execute("SAVEPOINT call")
        try:
            value = call.work(transaction)
            commit = transaction.finish()
        except Exception as error:
            if not self._db.in_transaction:
                raise  # SQLite has given up the whole transaction
            self._db.execute("ROLLBACK TO call")
            self._db.execute("RELEASE call")
            return storage_error(error) if isinstance(error, apsw.Error) else error
        self._db.execute("RELEASE call")
        self._revision = transaction.revision
        if commit:
            commits.append(commit)
        return Revised(value, transaction.revision)

    def _answer(
        self,
        batch: Sequence[_Call[Any]],
        outcomes: Sequence[Outcome],
        commits: Sequence[Commit],
    ) -> None:
        for commit in commits:
            self._committed(commit)
        for call, outcome in zip(batch, outcomes, strict=True):
            if call.reply.cancelled():
                continue
            if isinstance(outcome, Exception):
                call.reply.set_exception(outcome)
            else:
                call.reply.set_result(outcome)
