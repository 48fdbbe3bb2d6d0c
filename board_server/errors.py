"""The errors of a board. `wire/statuses.py` maps each to a gRPC status."""

from collections.abc import Sequence
from dataclasses import dataclass

from board_server.model import FileClaim


class BoardError(Exception):
    """Base of every error that a client of the service receives."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of a request, and what is wrong with it."""

    field: str
    description: str


class InvalidArgument(BoardError):
    """Fields of the request are not valid. Nothing was changed."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations[:3]))
        self.violations = violations


class BoardNotFound(BoardError):
    """Nobody has opened a board of that name."""

    def __init__(self, board: str) -> None:
        super().__init__(f'board "{board}" does not exist; open it with OpenBoard')
        self.board = board


class FileAlreadyClaimed(BoardError):
    """Other phases have claimed the files. Nothing was changed.

    `conflicts` has the claims of the others, at least one.
    """

    def __init__(self, conflicts: Sequence[FileClaim]) -> None:
        first = conflicts[0]
        super().__init__(
            f'file already claimed by another phase: "{first.filepath}" owned by "{first.owner}"'
        )
        self.conflicts = conflicts


class StateMismatch(BoardError):
    """A phase is not in the state that the caller expected. Nothing was changed.

    A state of "" means that there is, or should be, no such phase.
    """

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
            f"the board is at revision {actual}, not {expected}: it has changed; read it again"
        )
        self.expected = expected
        self.actual = actual


class SessionExpired(BoardError):
    """No such session is open: it has expired or was closed, or it never existed."""

    def __init__(self, session_id: str) -> None:
        super().__init__("the session has ended; drop its work, which another worker may have")
        self.session_id = session_id


class RevisionCompacted(BoardError):
    """The events to resume from are compacted. A watch may resume after revision `oldest`."""

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(
            f"the events after revision {after} are compacted, only those after {oldest} are kept; "
            "take a snapshot and watch from its revision"
        )
        self.oldest = oldest


class BoardReplaced(BoardError):
    """The board was deleted or replaced. `board_id` is that of the new board, "" for none."""

    def __init__(self, board_id: str) -> None:
        super().__init__("the board was deleted or replaced; take a snapshot")
        self.board_id = board_id


class WatchTooSlow(BoardError):
    """A client does not read its watch fast enough. All events up to `last` were sent."""

    def __init__(self, last: int) -> None:
        super().__init__(f"the watch is read too slowly; resume after revision {last}")
        self.last = last


class StorageError(BoardError):
    """Base of storage errors.

    The text is for clients and never names the server's files. `where` is the path of the file,
    "" for none; `located` is the text for the log and the operator.
    """

    def __init__(self, text: str, where: object = "") -> None:
        super().__init__(text)
        self.where = str(where)

    @property
    def located(self) -> str:
        """The path of the file, then the text."""
        return f"{self.where}: {self}" if self.where else str(self)


class StoreUnavailable(StorageError):
    """The storage cannot be used: it fails, or another server uses it. Nothing was changed."""


class StoreFull(StorageError):
    """The disk is full. Nothing was changed."""


class Unauthenticated(BoardError):
    """The call has no known token, and no certificate that matches one."""


class PermissionDenied(BoardError):
    """The token's role, boards or worker do not permit this call."""


class LimitExceeded(BoardError):
    """The principal has reached the limit named `limit`, which is `maximum`."""

    def __init__(self, limit: str, maximum: int) -> None:
        super().__init__(f"too many {limit} at once: the limit is {maximum:,}; end some of them")
        self.limit = limit
        self.maximum = maximum


class ShuttingDown(BoardError):
    """The server is shutting down and accepts no more calls."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down; retry")


class CannotListen(OSError):
    """The server cannot listen on an address. The text says which one and why."""


class CannotTrace(RuntimeError):
    """Tracing is enabled but cannot work. The text says why."""
