"""Group commit: one transaction and one sync for all waiting writes."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import apsw

from board_server.failpoints import failpoint
from board_server.model import Commit, IdempotencyKey, Revised
from board_server.sqlite import events, idempotency
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import StorageErrorLog
from board_server.sqlite.transaction import Transaction

T = TypeVar("T")

Outcome = Revised[Any] | Exception

ABANDONED = RuntimeError("the caller was cancelled before its write began")


@dataclass(frozen=True, slots=True, eq=False)
class Call(Generic[T]):
    """A write, and the idempotency key of its call if it has one."""

    work: Callable[[Transaction], T]
    key: IdempotencyKey | None

    @property
    def abandoned(self) -> bool:
        """Whether its caller was cancelled. If its work has not begun, it is skipped."""
        return False


class GroupCommit:
    """Runs writes in one transaction, each within a savepoint.

    A write that fails does not affect the others. If the commit fails, all of them fail.
    """

    def __init__(
        self, connection: apsw.Connection, settings: Settings, errors: StorageErrorLog
    ) -> None:
        self._db = connection
        self._settings = settings
        self._errors = errors
        self._revision = int(connection.execute("SELECT revision FROM meta").get)
        self._saved_bytes = 0  # of outcomes, in the current transaction
        self._refused_in_log = False  # the log may have a commit that failed; see overwrite_refused

    @property
    def revision(self) -> int:
        """The revision of the last commit."""
        return self._revision

    def run(self, calls: Sequence[Call[Any]]) -> tuple[list[Outcome], list[Commit]]:
        """Commit the calls; return the outcome of each, and the commits to publish."""
        before = self._revision
        commits: list[Commit] = []
        self._saved_bytes = 0
        try:
            self._db.execute("BEGIN IMMEDIATE")
            alone = len(calls) == 1
            outcomes = [self._outcome(call, commits, alone=alone) for call in calls]
            self._finish(before)
            failpoint("before-commit")
            self._db.execute("COMMIT")
            failpoint("after-commit")
        except Exception as error:
            self._revision = before
            self._roll_back()
            return [self._translated(error)] * len(calls), []
        self._refused_in_log = False
        self._errors.recovered()
        return outcomes, commits

    def _finish(self, before: int) -> None:
        keep = self._settings
        if self._revision > before:
            events.finish_commit(
                self._db, before, self._revision, keep.keep_revisions, keep.keep_bytes
            )
        if self._saved_bytes:
            idempotency.drop_oldest(self._db, self._saved_bytes, keep.keep_bytes // 2)

    def overwrite_refused(self) -> None:
        """Overwrite a commit that failed in the write-ahead log, if one may be there.

        A commit whose sync failed may be complete in the log. A crash, or closing and opening the
        board, would restore it, although its callers got an error that says that nothing was
        changed. This fails if the disk accepts no writes; the next commit overwrites it too.
        """
        if self._refused_in_log:
            # Setting user_version writes a page even when unchanged; updating a row to
            # itself does not.
            self._db.pragma("user_version", self._db.pragma("user_version"))
            self._refused_in_log = False

    def _roll_back(self) -> None:
        """Roll back a transaction that failed, in the write-ahead log too if possible."""
        self._refused_in_log = True
        with suppress(apsw.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.overwrite_refused()

    def _translated(self, error: Exception) -> Exception:
        return self._errors.translate(error) if isinstance(error, apsw.Error) else error

    def _outcome(self, call: Call[Any], commits: list[Commit], *, alone: bool) -> Outcome:
        """Run a call, unless a call with its key has ended already; return the outcome."""
        if call.abandoned:
            return ABANDONED
        try:
            if call.key and (known := idempotency.find(self._db, call.key)):
                return known
            return self._attempt(call, commits, alone=alone)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # SQLite has rolled back the whole transaction
            return self._translated(error)

    def _attempt(self, call: Call[Any], commits: list[Commit], *, alone: bool) -> Revised[Any]:
        """Run a call and save its outcome. A call that is `alone` needs no savepoint."""
        transaction = Transaction(self._db, self._settings.clock(), self._revision)
        if not alone:
            self._db.execute("SAVEPOINT call")
        try:
            value = call.work(transaction)
            failpoint("before-events")
            commit = transaction.finish()
            self._save_outcome(call, value, transaction.revision)
        except Exception as error:
            if self._db.in_transaction:
                self._db.execute(
                    "ROLLBACK; BEGIN IMMEDIATE" if alone else "ROLLBACK TO call; RELEASE call"
                )
                if isinstance(error, idempotency.FINAL):
                    self._save_outcome(call, error, self._revision)
            raise
        if not alone:
            self._db.execute("RELEASE call")
        self._revision = transaction.revision
        if commit:
            commits.append(commit)
        return Revised(value, transaction.revision)

    def _save_outcome(self, call: Call[Any], value: object, revision: int) -> None:
        if call.key:
            self._saved_bytes += idempotency.save(self._db, call.key, value, revision)
