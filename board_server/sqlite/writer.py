"""The single writer of a board: a thread with group commit."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import apsw

from board_server.errors import ShuttingDown, StoreUnavailable
from board_server.failpoints import failpoint
from board_server.model import Commit, IdempotencyKey, Revised
from board_server.sqlite.checkpoints import Checkpoints
from board_server.sqlite.files import STRAY_LOG, BoardFiles, close_connection
from board_server.sqlite.group_commit import Call, GroupCommit, Outcome
from board_server.sqlite.identity import Damage
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import StorageErrorLog
from board_server.sqlite.transaction import Transaction

T = TypeVar("T")

MAX_BATCH = 256
"""Calls in one commit at most; bounds how long the first of them waits for the last."""

IDLE = 0.05
"""Seconds without a call after which the writer checkpoints."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Call(Call[T]):
    reply: asyncio.Future[Revised[T]]

    @property
    def abandoned(self) -> bool:
        return self.reply.cancelled()


class Writer:
    """Runs writes in the order of their arrival, and completes them when they are synced.

    All calls that wait when a commit begins are part of it. One callback on the event loop
    passes each commit to `committed`, and then completes the calls.

    An unexpected error in the thread or in `committed` ends the writer and sets `failure`: every
    call is completed, if necessary with an error, and the board has to be reopened.
    """

    def __init__(
        self,
        files: BoardFiles,
        settings: Settings,
        committed: Callable[[Commit], None],
        errors: StorageErrorLog,
        name: str,
    ) -> None:
        self._db = files.writing
        self._identity = files.identity
        self._settings = settings
        self._name = name
        self._committed = committed
        self._group = GroupCommit(self._db, settings, errors)
        self._loop = asyncio.get_running_loop()
        self._arrived: list[_Call[Any]] = []  # in this turn of the event loop
        self._handed_over: SimpleQueue[list[_Call[Any]] | None] = SimpleQueue()
        self._calls: deque[_Call[Any]] = deque()  # of the thread
        self._batch: list[_Call[Any]] = []  # of the thread: the current commit's
        self._accepted = 0  # counted by the event loop
        self._taken = 0  # counted by the thread
        self._begun = 0  # commits, likewise
        self._answered = 0  # commits, by the event loop
        self._closing = False
        self.failure: StoreUnavailable | None = None
        self._log = Checkpoints(self._db, self._identity)
        self._thread = threading.Thread(target=self._run, name=f"writer {name}", daemon=True)
        self._thread.start()

    async def write(
        self, work: Callable[[Transaction], T], key: IdempotencyKey | None = None
    ) -> Revised[T]:
        """Run `work` in the writer's thread; return its value and revision when it is synced.

        If a call with the same key has ended before, `work` is not run, and the outcome is that
        call's.
        """
        if self._closing:
            raise ShuttingDown
        if self.failure:
            raise self.failure
        if self.waiting >= self._settings.max_queue:
            raise StoreUnavailable(f"{self.waiting:,} writes already wait for the board; retry")
        reply: asyncio.Future[Revised[T]] = self._loop.create_future()
        if not self._arrived:
            # All calls of this iteration of the loop are handed over at once, for one commit.
            self._loop.call_soon(self._hand_over)
        self._arrived.append(_Call(work, key, reply))
        self._accepted += 1
        return await reply

    @property
    def waiting(self) -> int:
        """The number of writes that are in no commit yet."""
        return self._accepted - self._taken

    @property
    def revision(self) -> int:
        """The revision of the last commit."""
        return self._group.revision

    @property
    def idle(self) -> bool:
        """Whether no write waits, and all commits were passed to `committed`."""
        return not self.waiting and self._begun == self._answered

    async def close(self) -> None:
        """Commit the accepted writes, then end the thread and close its connection."""
        self._closing = True
        self._hand_over()
        self._handed_over.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._arrived:
            self._handed_over.put(self._arrived)
            self._arrived = []

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            with suppress(RuntimeError):  # the event loop is closed, and has no callers
                self._loop.call_soon_threadsafe(self._thread_died, error, self._batch)
        finally:
            with suppress(apsw.Error):
                self._close()

    def _close(self) -> None:
        damage = self._identity.damage()
        if damage is None:
            with suppress(apsw.Error):  # the disk accepts no writes
                self._group.overwrite_refused()
        if damage is Damage.LOG_REMOVED and not self._log.save_deleted():
            log.error("board %s: commits since the last checkpoint may be lost", self._name)
        close_connection(self._db, stray=damage in STRAY_LOG)

    def _serve(self) -> None:
        while self._receive():
            while self._next_batch():
                self._do(self._batch)
                if self._log.overdue:
                    self._log.checkpoint()

    def _do(self, batch: list[_Call[Any]]) -> None:
        started = time.perf_counter()
        outcomes, commits = self._commit(batch)
        try:
            self._settings.on_commit(self._name, len(batch), time.perf_counter() - started)
        finally:
            self._loop.call_soon_threadsafe(self._answer, batch, outcomes, commits)
            self._batch = []

    def _commit(self, batch: list[_Call[Any]]) -> tuple[list[Outcome], list[Commit]]:
        """Commit calls, unless another program has damaged the files.

        A crash would lose such a commit. The board is about to be reopened.
        """
        if damage := self._identity.damage():
            refused = f"the board's file {damage.value}; nothing was changed; retry"
            return [StoreUnavailable(refused)] * len(batch), []
        outcomes, commits = self._group.run(batch)
        if self._identity.damage() and not self._log.save_deleted():
            unknown = RuntimeError("the files of the board were damaged during a commit")
            return [unknown] * len(batch), []
        return outcomes, commits

    def _receive(self) -> bool:
        """Wait for calls; return False when the writer is closed. Checkpoints if none arrive."""
        try:
            calls = self._handed_over.get(timeout=IDLE if self._log.worthwhile else None)
        except Empty:
            self._log.checkpoint()
            calls = self._handed_over.get()
        self._calls.extend(calls or ())
        return calls is not None

    def _next_batch(self) -> bool:
        """Take waiting calls for one commit; return False if there are none."""
        while len(self._calls) < MAX_BATCH and not self._handed_over.empty():
            if not self._receive():
                self._handed_over.put(None)  # None ends the writer, after the calls before it
                break
        while self._calls and not self._batch:
            waiting = [self._calls.popleft() for _ in range(min(MAX_BATCH, len(self._calls)))]
            self._taken += len(waiting)
            # A call whose caller was cancelled before is skipped.
            self._batch = [call for call in waiting if not call.abandoned]
        self._begun += bool(self._batch)
        return bool(self._batch)

    def _answer(
        self,
        batch: Sequence[_Call[Any]],
        outcomes: Sequence[Outcome],
        commits: Sequence[Commit],
    ) -> None:
        self._answered += 1
        try:
            if not self.failure:
                for commit in commits:
                    self._committed(commit)
        except Exception as error:  # a follower may have missed this commit
            self._fail(error)
            self._handed_over.put(None)
        failpoint("before-reply")
        for call, outcome in zip(batch, outcomes, strict=True):
            _resolve(call, outcome)

    def _fail(self, error: BaseException) -> StoreUnavailable:
        """Refuse further writes and those not yet handed over; return the error for them."""
        if not self.failure:
            self.failure = StoreUnavailable(
                f"board {self._name} has to be reopened after an internal error; retry"
            )
            log.error("the writer of board %s failed", self._name, exc_info=error)
        arrived, self._arrived = self._arrived, []
        for call in arrived:
            _resolve(call, self.failure)
        return self.failure

    def _thread_died(self, error: BaseException, batch: Sequence[_Call[Any]]) -> None:
        """Complete all calls of a thread that died. Those in its commit may be done or not."""
        failure = self._fail(error)
        for call in batch:
            _resolve(call, RuntimeError(f"the writer failed in a commit: {error!r}"))
        with suppress(Empty):
            while True:
                self._calls.extend(self._handed_over.get_nowait() or ())
        for call in self._calls:
            _resolve(call, failure)


def _resolve(call: _Call[Any], outcome: Outcome) -> None:
    """Complete a call, unless its caller was cancelled."""
    if call.reply.done():
        return
    if isinstance(outcome, Exception):
        call.reply.set_exception(outcome)
    else:
        call.reply.set_result(outcome)
