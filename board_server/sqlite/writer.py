"""The one writer of a board: a thread that commits all waiting calls together."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import apsw

from board_server.errors import ShuttingDown, StoreUnavailable
from board_server.faults import reach
from board_server.model import Commit, Revised
from board_server.sqlite import events, requests
from board_server.sqlite.checkpoints import Checkpoints
from board_server.sqlite.settings import Settings
from board_server.sqlite.transaction import Transaction
from board_server.sqlite.trouble import Trouble

T = TypeVar("T")

MAX_BATCH = 256
"""Most calls in one commit; bounds how long the first of them waits for the last."""

IDLE = 0.05
"""Seconds without a call after which the writer tidies up."""


@dataclass(frozen=True, slots=True)
class _Call(Generic[T]):
    work: Callable[[Transaction], T]
    request_id: str
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
        trouble: Trouble,
        name: str,
    ) -> None:
        self._db = connection
        self._settings = settings
        self._name = name
        self._committed = committed
        self._trouble = trouble
        self._revision = int(connection.execute("SELECT revision FROM meta").get)
        self._loop = asyncio.get_running_loop()
        self._arrived: list[_Call[Any]] = []  # in this turn of the event loop
        self._handed_over: SimpleQueue[list[_Call[Any]] | None] = SimpleQueue()
        self._calls: deque[_Call[Any]] = deque()  # the thread's own
        self._accepted = 0  # counted by the event loop
        self._taken = 0  # counted by the thread
        self._begun = 0  # commits, likewise
        self._answered = 0  # commits, by the event loop
        self._closing = False
        self._compact_at = 0
        self._log = Checkpoints(connection)
        self._thread = threading.Thread(target=self._run, name=f"writer {name}", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Transaction], T], request_id: str = "") -> Revised[T]:
        """Run `work` in the writer's thread; return its value and revision once synced.

        What the call of this ID was answered before, if it was, is returned again.
        """
        if self._closing:
            raise ShuttingDown
        if self.waiting >= self._settings.max_queue:
            raise StoreUnavailable(f"{self.waiting:,} writes wait for the board already; retry")
        reply: asyncio.Future[Revised[T]] = self._loop.create_future()
        if not self._arrived:
            # With all others of this turn, so that they wake the thread once and
            # are one commit.
            self._loop.call_soon(self._hand_over)
        self._arrived.append(_Call(work, request_id, reply))
        self._accepted += 1
        return await reply

    @property
    def waiting(self) -> int:
        """How many writes no commit has begun with yet."""
        return self._accepted - self._taken

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and all that was committed is told."""
        return not self.waiting and self._begun == self._answered

    async def close(self) -> None:
        """Commit what was accepted, then end the thread and its connection."""
        self._closing = True
        self._hand_over()
        self._handed_over.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._arrived:
            self._handed_over.put(self._arrived)
            self._arrived = []

    def _run(self) -> None:
        while self._receive():
            while batch := self._next_batch():
                started = time.perf_counter()
                outcomes, commits = self._commit(batch)
                self._settings.on_commit(self._name, len(batch), time.perf_counter() - started)
                self._loop.call_soon_threadsafe(self._answer, batch, outcomes, commits)
                if self._log.overdue:
                    self._log.make()
        self._db.close()

    def _receive(self) -> bool:
        """Wait for calls; False when the writer is closed. Tidies up where none come."""
        try:
            calls = self._handed_over.get(timeout=IDLE if self._log.worth_it else None)
        except Empty:
            self._log.make()
            calls = self._handed_over.get()
        self._calls.extend(calls or ())
        return calls is not None

    def _next_batch(self) -> list[_Call[Any]]:
        """Take the calls that wait, as many as go into one commit."""
        while len(self._calls) < MAX_BATCH and not self._handed_over.empty():
            if not self._receive():
                self._handed_over.put(None)  # the end stands behind all calls: meet it again
                break
        waiting = [self._calls.popleft() for _ in range(min(MAX_BATCH, len(self._calls)))]
        # A caller that has gone before its work began gets none.
        batch = [call for call in waiting if not call.reply.cancelled()]
        self._begun += bool(batch)
        self._taken += len(waiting)
        return batch or (self._next_batch() if self._calls else [])

    def _commit(self, batch: Sequence[_Call[Any]]) -> tuple[list[Outcome], list[Commit]]:
        before = self._revision
        commits: list[Commit] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            alone = len(batch) == 1
            outcomes = [self._attempt(call, commits, alone=alone) for call in batch]
            if commits:
                self._db.execute("UPDATE meta SET revision = ?", (self._revision,))
                if self._revision >= self._compact_at:
                    self._compact_at = events.compact(
                        self._db, self._revision, self._settings.keep_revisions
                    )
                requests.forget(self._db, before, self._revision)
            reach("before-commit")
            self._db.execute("COMMIT")
            reach("after-commit")
        except Exception as error:
            self._revision = before
            self._give_up()
            return [self._said(error)] * len(batch), []
        self._trouble.over()
        return outcomes, commits

    def _give_up(self) -> None:
        """Undo a transaction that failed, in the log too.

        A commit that could not be synced may stand in the log whole. After a
        crash it would come back, although its callers were told that nothing
        was changed; so it is overwritten, as far as the disk takes anything.
        """
        with suppress(apsw.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            # Written even though it is what it was; a row would not be.
            self._db.pragma("user_version", self._db.pragma("user_version"))

    def _said(self, error: Exception) -> Exception:
        return self._trouble.of(error) if isinstance(error, apsw.Error) else error

    def _attempt(self, call: _Call[Any], commits: list[Commit], *, alone: bool) -> Outcome:
        """Run one call of a transaction; `alone`, it needs no savepoint."""
        transaction = Transaction(self._db, self._settings.clock(), self._revision)
        if not alone:
            self._db.execute("SAVEPOINT call")
        try:
            if call.request_id and (answer := requests.answer(self._db, call.request_id)):
                if not alone:
                    self._db.execute("RELEASE call")
                return answer
            value = call.work(transaction)
            answer = Revised(value, transaction.revision)
            reach("before-events")
            commit = transaction.finish()
            if commit and call.request_id:
                requests.remember(self._db, call.request_id, answer)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # SQLite has given up the whole transaction
            self._db.execute(
                "ROLLBACK; BEGIN IMMEDIATE" if alone else "ROLLBACK TO call; RELEASE call"
            )
            return self._said(error)
        if not alone:
            self._db.execute("RELEASE call")
        self._revision = transaction.revision
        if commit:
            commits.append(commit)
        return answer

    def _answer(
        self,
        batch: Sequence[_Call[Any]],
        outcomes: Sequence[Outcome],
        commits: Sequence[Commit],
    ) -> None:
        self._answered += 1
        for commit in commits:
            self._committed(commit)
        reach("before-reply")
        for call, outcome in zip(batch, outcomes, strict=True):
            if call.reply.cancelled():
                continue
            if isinstance(outcome, Exception):
                call.reply.set_exception(outcome)
            else:
                call.reply.set_result(outcome)
