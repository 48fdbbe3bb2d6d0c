"""BoardError and its subclasses: what a call raises. Match the class, never the text."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from board_client.model import NotMet
from board_client.v1 import board_pb2 as pb

DOMAIN = "board.v1"

_ALL_MET = "all conditions hold now, but did not hold together before"

_DETAILS_KEY = "grpc-status-details-bin"


class BoardError(Exception):
    """Base class of the errors of calls.

    `code` is the gRPC status. `reason` is the board's ErrorReason without its prefix,
    "" if the error is not the board's own; `metadata` is that of the reason.
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
    """An argument is not valid, and nothing was changed. Correct the call."""

    @property
    def field(self) -> str:
        """Name of the first field that is not valid, such as `contracts[3].name`."""
        return self.metadata.get("field", "")

    @classmethod
    def of(cls, field: str, description: str) -> "InvalidArgument":
        """Return the error of a value that is refused before it is sent."""
        return cls(
            f"{field}: {description}",
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_ARGUMENT",
            metadata={"field": field},
        )


class BoardNotFound(BoardError):
    """The board does not exist. Create it with open_board(), or correct its name."""

    @property
    def board(self) -> str:
        """Name of the board."""
        return self.metadata.get("board", "")


class FileAlreadyClaimed(BoardError):
    """Another phase has claimed the file. Wait until it is free, or work on another.

    `conflicts` has the path and the owner of each such file, as many as fit into
    the reply.
    """

    conflicts: Sequence[tuple[str, str]] = ()

    @property
    def filepath(self) -> str:
        """Path of the file, as it was given."""
        return self.metadata.get("filepath", "")

    @property
    def owner(self) -> str:
        """ID of the phase that has claimed it."""
        return self.metadata.get("owner", "")


class StateMismatch(BoardError):
    """The phase is not in the expected state, and nothing was changed. Read it again."""

    @property
    def phase_id(self) -> str:
        """ID of the phase."""
        return self.metadata.get("phase_id", "")

    @property
    def expected(self) -> str:
        """State that the call expected; "" if it expected that the phase does not exist."""
        return self.metadata.get("expected", "")

    @property
    def actual(self) -> str:
        """State of the phase; "" if it does not exist."""
        return self.metadata.get("actual", "")


class RevisionMismatch(BoardError):
    """The board has changed since the expected revision. Read it again."""

    @property
    def expected(self) -> int:
        """Revision that the call expected."""
        return int(self.metadata.get("expected", "0"))

    @property
    def actual(self) -> int:
        """Revision of the board."""
        return int(self.metadata.get("actual", "0"))


class SessionExpired(BoardError):
    """The session has ended, and another worker may have its work. Drop that work."""

    @property
    def session_id(self) -> str:
        """ID of the session."""
        return self.metadata.get("session_id", "")


class RevisionCompacted(BoardError):
    """The board no longer has events that old. Take a snapshot, and watch from its revision."""

    @property
    def oldest_revision(self) -> int:
        """The oldest revision from which a watch can resume."""
        return int(self.metadata.get("oldest_revision", "0"))


class BoardReplaced(BoardError):
    """The board was deleted, or restored from a backup. Take a snapshot."""

    @property
    def board_id(self) -> str:
        """ID of the board that now has this name; "" if there is none."""
        return self.metadata.get("board_id", "")


class WatchTooSlow(BoardError):
    """The watcher read too slowly. Resume after `last_revision`, as `watch` does by itself."""

    @property
    def last_revision(self) -> int:
        """The revision up to which every event was sent."""
        return int(self.metadata.get("last_revision", "0"))


class Unavailable(BoardError):
    """No server answers, or the server cannot serve now. Retry with backoff."""


class StoreUnavailable(Unavailable):
    """The server's storage fails. Retry with backoff; the server's log has the cause."""


class ShuttingDown(Unavailable):
    """The server is shutting down. Retry with backoff."""


class StoreFull(BoardError):
    """The server's disk is full. Its operator must free space."""


class BadCredentials(BoardError):
    """The client's or the server's credentials cannot be used; a retry does not help.

    A file cannot be read, one side does not trust the other's certificate, or a token
    would be sent unencrypted. `fields` are the fields of Credentials to set or to
    correct. The text is `why`, followed by `remedy` and the fields.
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
        """Return the error of a cause, with a remedy and its fields: `give its CA with`, `ca`."""
        error = cls(why, code=code)
        error.why, error.remedy, error.fields = why, remedy, fields
        values = {"tls": "True"}
        names = {field: f"Credentials({field}={values.get(field, '...')})" for field in fields}
        error.args = (error.worded(names),)
        return error

    @classmethod
    def unusable(cls, why: str, remedy: str, *fields: str) -> "BadCredentials":
        """Return the error of a client's credentials that are refused before anything is sent."""
        return cls.of(why, remedy, *fields, code=grpc.StatusCode.INVALID_ARGUMENT)

    @property
    def before_sent(self) -> bool:
        """Whether the client's credentials were refused before anything was sent."""
        return self.code is grpc.StatusCode.INVALID_ARGUMENT

    def worded(self, names: Mapping[str, str]) -> str:
        """Return the text with other names for the fields, such as a command's options."""
        if not self.fields:
            return str(self)
        return f"{self.why}; {self.remedy} {' or '.join(names[field] for field in self.fields)}"


class Unauthenticated(BoardError):
    """The server requires a token and does not know the call's. Ask its operator for one."""


class PermissionDenied(BoardError):
    """The token's role does not allow this call. Ask the server's operator."""


class LimitExceeded(BoardError):
    """The caller, or all callers, have reached a limit of the server. End some of these calls."""

    @property
    def limit(self) -> str:
        """Name of the limit, such as `watches`."""
        return self.metadata.get("limit", "")

    @property
    def maximum(self) -> int:
        """Value of the limit."""
        return int(self.metadata.get("maximum", "0"))


class DeadlineExceeded(BoardError):
    """No answer came in time. A write may have been done or not: read to find out.

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
    """The client was closed before or during the call. Make another client."""

    @classmethod
    def of(cls, target: str) -> "ClientClosed":
        """Return the error of a closed client of the board at `target`."""
        return cls(
            f"this client of the board at {target} is closed; make another",
            code=grpc.StatusCode.CANCELLED,
        )


class InternalError(BoardError):
    """The server failed. Report `error_id`: the server's log has it too."""

    @property
    def error_id(self) -> str:
        """ID of this failure in the server's log."""
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
    """Return the BoardError of a failed call. `target` and `timeout` (seconds) are for its text."""
    code: grpc.StatusCode = error.code()
    details: str = error.details() or ""
    status = _status(error)
    info = error_details_pb2.ErrorInfo()
    if any(detail.Unpack(info) for detail in status.details) and info.domain == DOMAIN:
        kind = _BY_REASON.get(info.reason, BoardError)
        if kind is BoardNotFound:  # the server names its RPC instead
            details = f'board "{info.metadata["board"]}" does not exist; open_board() makes it'
        failure = kind(details, code=code, reason=info.reason, metadata=info.metadata)
        if isinstance(failure, FileAlreadyClaimed):
            failure.conflicts = _conflicts(status) or [(failure.filepath, failure.owner)]
        return failure
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable(
                f"no board answers at {target} ({details}); `board serve` starts one",
                code=code,
            )
        case (
            grpc.StatusCode.CANCELLED
        ):  # by a server that shuts down: the caller has not cancelled the call
            return Unavailable(f"the board at {target} ended the call ({details})", code=code)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded.of(target, timeout)
        case _:
            return BoardError(f"{code.name}: {details}", code=code)


def _status(error: grpc.RpcError) -> status_pb2.Status:
    """Return the status with its details; an empty one if the server sent none."""
    trailing: Any = error.trailing_metadata()  # a sequence of pairs, although its type stubs differ
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
