"""What can go wrong on a board, in the board's words; `status` turns them into gRPC's."""

from collections.abc import Sequence
from dataclasses import dataclass

from board_server.model import FileClaim


class BoardError(Exception):
    """Base of every error that a caller of the service is told about."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request and what is wrong with it."""

    field: str
    description: str


class InvalidArgument(BoardError):
    """Fields of the request break their limits. Nothing was changed."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations[:3]))
        self.violations = violations


class BoardNotFound(BoardError):
    """Nobody has opened a board of that name."""

    def __init__(self, board: str) -> None:
        super().__init__(f'board "{board}" does not exist; open it with OpenBoard')
        self.board = board


class FileAlreadyClaimed(BoardError):
    """Other phases hold files that were to be claimed. Nothing was changed."""

    def __init__(self, conflicts: Sequence[FileClaim]) -> None:
        first = conflicts[0]
        super().__init__(
            f'file already claimed by another phase: "{first.filepath}" owned by "{first.owner}"'
        )
        self.conflicts = conflicts


class StateMismatch(BoardError):
    """A phase is not in the state that the caller expected. A state of "" means no phase."""

    def __init__(self, phase_id: str, expected: str, actual: str) -> None:
        found = f"is {actual}" if actual else "does not exist"
        super().__init__(f'phase "{phase_id}" {found}, expected {expected or "no such phase"}')
        self.phase_id = phase_id
        self.expected = expected
        self.actual = actual


class RevisionMismatch(BoardError):
    """The board is not at the revision that the caller expected. Nothing was changed."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(
            f"the board is at revision {actual}, not {expected}; it has changed: read it again"
        )
        self.expected = expected
        self.actual = actual


class SessionExpired(BoardError):
    """The session has ended, or never was. Its work was handed on."""

    def __init__(self, session_id: str) -> None:
        super().__init__("the session has ended and its work was handed on; drop it")
        self.session_id = session_id


class RevisionCompacted(BoardError):
    """Events from there on are no longer all kept; `oldest` is where they still are."""

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(
            f"the events after revision {after} are no longer kept, those after {oldest} are; "
            "take a snapshot and watch from its revision"
        )
        self.oldest = oldest


class BoardReplaced(BoardError):
    """The board is another than it was; `board_id` is the one there now, "" for none."""

    def __init__(self, board_id: str) -> None:
        super().__init__("the board was deleted or made anew; take a snapshot")
        self.board_id = board_id


class WatchTooSlow(BoardError):
    """A watcher does not keep up; `last` is the revision up to which all was sent."""

    def __init__(self, last: int) -> None:
        super().__init__(f"the watcher does not keep up; resume after revision {last}")
        self.last = last


class StorageError(BoardError):
    """Base of what goes wrong with a board's storage.

    Its text is for clients, who are never shown where the server keeps its files; `where` is the
    path of the file, "" for none, and `located` the text for the log and the operator.
    """

    def __init__(self, text: str, where: object = "") -> None:
        super().__init__(text)
        self.where = str(where)

    @property
    def located(self) -> str:
        """The text with the path of the file before it."""
        return f"{self.where}: {self}" if self.where else str(self)


class StoreUnavailable(StorageError):
    """The storage does not answer, or is another server's. Nothing was changed."""


class StoreFull(StorageError):
    """There is no room left to write. Nothing was changed."""


class Unauthenticated(BoardError):
    """The caller shows no token that is known, nor a certificate that stands for one."""


class PermissionDenied(BoardError):
    """The caller's token is not for this call, this board, or this worker."""


class LimitExceeded(BoardError):
    """As much of `limit` goes on as may; `maximum` says how much that is."""

    def __init__(self, limit: str, maximum: int) -> None:
        super().__init__(f"too many {limit} at once: at most {maximum:,} may be; end some of them")
        self.limit = limit
        self.maximum = maximum


class ShuttingDown(BoardError):
    """The server is going down and takes no more work."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; retry")


class CannotListen(OSError):
    """An address cannot be listened on. Its text says which and why."""


class CannotTrace(RuntimeError):
    """Traces are asked for and cannot be made. Its text says why."""
