"""BoardError and its kinds: what a call raises, told apart by reason and never by text."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from board_client.model import NotMet
from board_client.v1 import board_pb2 as pb

DOMAIN = "board.v1"

_ALL_MET = "the conditions hold now, but did not hold together in time"

_DETAILS_KEY = "grpc-status-details-bin"


class BoardError(Exception):
    """Base of all that a call can raise.

    `code` is the gRPC status, `reason` the board's ErrorReason without its prefix
    ("" when the error did not come from the board), `metadata` what goes with it.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})


class InvalidArgument(BoardError):
    """A field breaks its limits. Nothing was changed; mend the call."""

    @property
    def field(self) -> str:
        """Name of the first field at fault, such as `contracts[3].name`."""
        return self.metadata.get("field", "")

    @classmethod
    def of(cls, field: str, description: str) -> "InvalidArgument":
        """Refuse a value before it is sent."""
        return cls(
            f"{field}: {description}",
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_ARGUMENT",
            metadata={"field": field},
        )


class BoardNotFound(BoardError):
    """Nobody has opened a board of that name; open it, or correct the name."""

    @property
    def board(self) -> str:
        """Name of the board that is not there."""
        return self.metadata.get("board", "")


class FileAlreadyClaimed(BoardError):
    """Another phase has the file. Wait until it is free, or do something else.

    `conflicts` has the path and the owner of each file, of as many as the
    server could name.
    """

    conflicts: Sequence[tuple[str, str]] = ()

    @property
    def filepath(self) -> str:
        """Path of the file, as it was given."""
        return self.metadata.get("filepath", "")

    @property
    def owner(self) -> str:
        """ID of the phase that has it."""
        return self.metadata.get("owner", "")


class StateMismatch(BoardError):
    """The phase is not in the expected state. Read it again and decide anew."""

    @property
    def phase_id(self) -> str:
        """ID of the phase."""
        return self.metadata.get("phase_id", "")

    @property
    def expected(self) -> str:
        """State that the call expected; "" where there was to be no such phase."""
        return self.metadata.get("expected", "")

    @property
    def actual(self) -> str:
        """State that the phase is in; empty when there is no such phase."""
        return self.metadata.get("actual", "")


class RevisionMismatch(BoardError):
    """The board is not at the expected revision: it has changed since. Read it again."""

    @property
    def expected(self) -> int:
        """Revision that the call expected."""
        return int(self.metadata.get("expected", "0"))

    @property
    def actual(self) -> int:
        """Revision that the board was at."""
        return int(self.metadata.get("actual", "0"))


class SessionExpired(BoardError):
    """The session has ended and its work was handed on. Drop it."""

    @property
    def session_id(self) -> str:
        """ID of the session."""
        return self.metadata.get("session_id", "")


class RevisionCompacted(BoardError):
    """Events that old are no longer kept. Take a snapshot, and watch from its revision."""

    @property
    def oldest_revision(self) -> int:
        """The oldest revision to watch from."""
        return int(self.metadata.get("oldest_revision", "0"))


class BoardReplaced(BoardError):
    """The board is another than it was: deleted, or made anew. Take a snapshot."""

    @property
    def board_id(self) -> str:
        """ID of the board that is there now; empty when there is none."""
        return self.metadata.get("board_id", "")


class WatchTooSlow(BoardError):
    """The watcher did not keep up. Resume after `last_revision`; `watch` does it by itself."""

    @property
    def last_revision(self) -> int:
        """The revision up to which everything was sent."""
        return int(self.metadata.get("last_revision", "0"))


class Unavailable(BoardError):
    """The board cannot be reached, or cannot serve now. Retry with backoff."""


class StoreUnavailable(Unavailable):
    """The server answers, its storage does not."""


class ShuttingDown(Unavailable):
    """The server is going down."""


class StoreFull(BoardError):
    """The server's disk is full. Tell a person."""


class BadCredentials(BoardError):
    """Certificates or a token that cannot be used: ours, or the server's.

    A file that cannot be read, a server that is not trusted or does not trust
    us, or a token that would travel unencrypted. Trying again helps nobody.
    `fields` are those of Credentials that help if they are given, or mended; the
    text is `why`, and then `remedy` with them.
    """

    why: str = ""
    remedy: str = ""
    fields: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        why: str,
        remedy: str = "",
        *fields: str,
        code: grpc.StatusCode = grpc.StatusCode.UNAUTHENTICATED,
    ) -> "BadCredentials":
        """Say what is wrong, and what to do with which fields, such as `give its CA with`, `ca`."""
        error = cls(why, code=code)
        error.why, error.remedy, error.fields = why, remedy, fields
        values = {"tls": "True"}
        names = {field: f"Credentials({field}={values.get(field, '...')})" for field in fields}
        error.args = (error.worded(names),)
        return error

    @classmethod
    def unusable(cls, why: str, remedy: str, *fields: str) -> "BadCredentials":
        """Refuse our own before they are shown to anybody."""
        return cls.of(why, remedy, *fields, code=grpc.StatusCode.INVALID_ARGUMENT)

    @property
    def before_sent(self) -> bool:
        """Whether ours cannot be used as they are, so that no server was asked."""
        return self.code is grpc.StatusCode.INVALID_ARGUMENT

    def worded(self, names: Mapping[str, str]) -> str:
        """Return the text with names of its own for the fields, such as a command's options."""
        if not self.fields:
            return str(self)
        return f"{self.why}; {self.remedy} {' or '.join(names[field] for field in self.fields)}"


class Unauthenticated(BoardError):
    """The server asks for a token and knows none that the call shows. Ask its operator for one."""


class PermissionDenied(BoardError):
    """The token may not do this. Ask the server's operator."""


class LimitExceeded(BoardError):
    """The server does as much of this at once as it is willing to. End some of it."""

    @property
    def limit(self) -> str:
        """What there is too much of, such as `watches`."""
        return self.metadata.get("limit", "")

    @property
    def maximum(self) -> int:
        """How much of it there may be."""
        return int(self.metadata.get("maximum", "0"))


class DeadlineExceeded(BoardError):
    """No answer came in time. A write may or may not have happened: read to find out.

    `not_met` has the conditions of a `wait_for` that did not hold after its deadline,
    and why; it is None for other calls, and where they could not be read.
    """

    not_met: Sequence[NotMet] | None = None

    @classmethod
    def of_wait(cls, timeout: float, not_met: Sequence[NotMet]) -> "DeadlineExceeded":
        """Return the error of a `wait_for` whose timeout, in seconds, has passed."""
        why = f"not met: {'; '.join(map(str, not_met))}" if not_met else _ALL_MET
        error = cls(
            f"wait_for: deadline of {timeout:g} s passed; {why}",
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        error.not_met = tuple(not_met)
        return error

    @classmethod
    def of(cls, target: str, timeout: float) -> "DeadlineExceeded":
        """Return the error of a call that had no answer within `timeout` seconds."""
        return cls(
            f"the board at {target} gave no answer within {timeout:g} s",
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
        )


class ClientClosed(BoardError):
    """The client was closed before the call, or during it. Make another."""

    @classmethod
    def of(cls, target: str) -> "ClientClosed":
        """Say that the client of the board at `target` is closed."""
        return cls(
            f"this client of the board at {target} is closed; make another",
            code=grpc.StatusCode.CANCELLED,
        )


class InternalError(BoardError):
    """The server failed; report `error_id`, which its log has too."""

    @property
    def error_id(self) -> str:
        """What the server's log calls this failure."""
        return self.metadata.get("error_id", "")


_BY_REASON: Mapping[str, type[BoardError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "BOARD_NOT_FOUND": BoardNotFound,
    "FILE_ALREADY_CLAIMED": FileAlreadyClaimed,
    "STATE_MISMATCH": StateMismatch,
    "REVISION_MISMATCH": RevisionMismatch,
    "SESSION_EXPIRED": SessionExpired,
    "REVISION_COMPACTED": RevisionCompacted,
    "BOARD_REPLACED": BoardReplaced,
    "WATCH_TOO_SLOW": WatchTooSlow,
    "STORE_UNAVAILABLE": StoreUnavailable,
    "SHUTTING_DOWN": ShuttingDown,
    "STORE_FULL": StoreFull,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "LIMIT_EXCEEDED": LimitExceeded,
    "INTERNAL": InternalError,
}
assert set(_BY_REASON) < {name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.keys()}


def from_rpc_error(error: grpc.RpcError, target: str, timeout: float) -> BoardError:
    """Tell what a failed call means. `target` and `timeout` (seconds) go into the message."""
    code: grpc.StatusCode = error.code()
    details: str = error.details() or ""
    status = _status(error)
    info = error_details_pb2.ErrorInfo()
    if any(detail.Unpack(info) for detail in status.details) and info.domain == DOMAIN:
        kind = _BY_REASON.get(info.reason, BoardError)
        if kind is BoardNotFound:  # the server speaks of its RPCs
            details = f'board "{info.metadata["board"]}" does not exist; open_board() makes it'
        told = kind(details, code=code, reason=info.reason, metadata=info.metadata)
        if isinstance(told, FileAlreadyClaimed):
            told.conflicts = _conflicts(status) or [(told.filepath, told.owner)]
        return told
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable(
                f"no board answers at {target} ({details}); `board serve` starts one",
                code=code,
            )
        case grpc.StatusCode.CANCELLED:  # not by us: a server that stops ends calls so
            return Unavailable(f"the board at {target} ended the call ({details})", code=code)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded.of(target, timeout)
        case _:
            return BoardError(f"{code.name}: {details}", code=code)


def _status(error: grpc.RpcError) -> status_pb2.Status:
    """Read the status with its details; one without any where the server sent none."""
    trailing: Any = error.trailing_metadata()  # pairs, whatever its stubs say
    for key, value in trailing or ():
        if key == _DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _conflicts(status: status_pb2.Status) -> list[tuple[str, str]]:
    conflict = pb.FileClaimConflict()
    return [
        (conflict.filepath, conflict.owner) for detail in status.details if detail.Unpack(conflict)
    ]
