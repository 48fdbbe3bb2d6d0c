"""Group commit: one transaction and one sync for all calls that wait."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import apsw

from board_server.failpoints import failpoint
from board_server.model import Commit, IdempotencyKey, Revised
from board_server.sqlite import events, idempotency
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import Trouble
from board_server.sqlite.transaction import Transaction

T = TypeVar("T")

Outcome = Revised[Any] | Exception

ABANDONED = RuntimeError("nobody waits for this outcome")


@dataclass(frozen=True, slots=True, eq=False)
class Call(Generic[T]):
    """A write: what it does, and the key by which it is known when it comes again."""

    work: Callable[[Transaction], T]
    key: IdempotencyKey | None

    @property
    def abandoned(self) -> bool:
        """Whether its caller has gone: where its work has not begun, it is not to be done."""
        return False


class GroupCommit:
    """Runs calls in one transaction, each within a savepoint of its own.

    So one call's failure is its own; the commit's failure is everyone's.
    """

    def __init__(self, connection: apsw.Connection, settings: Settings, trouble: Trouble) -> None:
        self._db = connection
        self._settings = settings
        self._trouble = trouble
        self._revision = int(connection.execute("SELECT revision FROM meta").get)
        self._remembered = 0  # bytes, in the transaction that is under way

    @property
    def revision(self) -> int:
        """The revision of the last commit."""
        return self._revision

    def run(self, calls: Sequence[Call[Any]]) -> tuple[list[Outcome], list[Commit]]:
        """Commit the calls; return how each ended, and the commits that they made."""
        before = self._revision
        commits: list[Commit] = []
        self._remembered = 0
        try:
            self._db.execute("BEGIN IMMEDIATE")
            alone = len(calls) == 1
            outcomes = [self._outcome(call, commits, alone=alone) for call in calls]
            self._conclude(before)
            failpoint("before-commit")
            self._db.execute("COMMIT")
            failpoint("after-commit")
        except Exception as error:
            self._revision = before
            self._give_up()
            return [self._said(error)] * len(calls), []
        self._trouble.over()
        return outcomes, commits

    def _conclude(self, before: int) -> None:
        keep = self._settings
        if self._revision > before:
            events.conclude(self._db, before, self._revision, keep.keep_revisions, keep.keep_bytes)
        if self._remembered:
            idempotency.forget(self._db, self._remembered, keep.keep_bytes // 2)

    def _give_up(self) -> None:
        """Undo a transaction that failed, in the log too.

        A commit that could not be synced may stand in the log whole. After a
        crash it would come back, although its callers were told that nothing
        was changed; so it is overwritten, as far as the disk takes anything.
        """
        with suppress(apsw.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            # Setting user_version writes a page even when unchanged; updating a row to
            # itself does not.
            self._db.pragma("user_version", self._db.pragma("user_version"))

    def _said(self, error: Exception) -> Exception:
        return self._trouble.of(error) if isinstance(error, apsw.Error) else error

    def _outcome(self, call: Call[Any], commits: list[Commit], *, alone: bool) -> Outcome:
        """Run a call, unless one of its key has ended already; return how it ended."""
        if call.abandoned:
            return ABANDONED
        try:
            if call.key and (known := idempotency.recall(self._db, call.key)):
                return known
            return self._attempt(call, commits, alone=alone)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # SQLite has given up the whole transaction
            return self._said(error)

    def _attempt(self, call: Call[Any], commits: list[Commit], *, alone: bool) -> Revised[Any]:
        """Run a call and remember its outcome; `alone`, it needs no savepoint."""
        transaction = Transaction(self._db, self._settings.clock(), self._revision)
        if not alone:
            self._db.execute("SAVEPOINT call")
        try:
            value = call.work(transaction)
            failpoint("before-events")
            commit = transaction.finish()
            self._remember(call, value, transaction.revision)
        except Exception as error:
            if self._db.in_transaction:
                self._db.execute(
                    "ROLLBACK; BEGIN IMMEDIATE" if alone else "ROLLBACK TO call; RELEASE call"
                )
                if isinstance(error, idempotency.FINAL):
                    self._remember(call, error, self._revision)
            raise
        if not alone:
            self._db.execute("RELEASE call")
        self._revision = transaction.revision
        if commit:
            commits.append(commit)
        return Revised(value, transaction.revision)

    def _remember(self, call: Call[Any], value: object, revision: int) -> None:
        if call.key:
            self._remembered += idempotency.remember(self._db, call.key, value, revision)
