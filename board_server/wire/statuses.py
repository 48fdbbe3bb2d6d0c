"""The gRPC statuses of the board's errors, with their details."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from board_client.v1 import board_pb2 as pb
from board_server.errors import (
    BoardError,
    BoardNotFound,
    BoardReplaced,
    FileAlreadyClaimed,
    InvalidArgument,
    LimitExceeded,
    PermissionDenied,
    RevisionCompacted,
    RevisionMismatch,
    SessionExpired,
    ShuttingDown,
    StateMismatch,
    StoreFull,
    StoreUnavailable,
    Unauthenticated,
    WatchTooSlow,
)

DOMAIN = "board.v1"

DETAILS_KEY = "grpc-status-details-bin"

# Clients accept 8 KiB of headers in all: the details, which base64 makes a third longer; the text,
# which percent-encoding may make three times as long; and the request ID.
MAX_TEXT = 256
"""Most bytes of an error's text."""

MAX_DETAILS = 5080
"""Most bytes of a status with its details; an ErrorInfo with a path may have 4.5 KiB."""

_Code = grpc.StatusCode

TABLE: Mapping[type[BoardError], tuple[grpc.StatusCode, pb.ErrorReason.ValueType]] = {
    InvalidArgument: (_Code.INVALID_ARGUMENT, pb.ERROR_REASON_INVALID_ARGUMENT),
    BoardNotFound: (_Code.NOT_FOUND, pb.ERROR_REASON_BOARD_NOT_FOUND),
    FileAlreadyClaimed: (_Code.ALREADY_EXISTS, pb.ERROR_REASON_FILE_ALREADY_CLAIMED),
    StateMismatch: (_Code.FAILED_PRECONDITION, pb.ERROR_REASON_STATE_MISMATCH),
    RevisionMismatch: (_Code.FAILED_PRECONDITION, pb.ERROR_REASON_REVISION_MISMATCH),
    SessionExpired: (_Code.FAILED_PRECONDITION, pb.ERROR_REASON_SESSION_EXPIRED),
    RevisionCompacted: (_Code.OUT_OF_RANGE, pb.ERROR_REASON_REVISION_COMPACTED),
    BoardReplaced: (_Code.FAILED_PRECONDITION, pb.ERROR_REASON_BOARD_REPLACED),
    WatchTooSlow: (_Code.RESOURCE_EXHAUSTED, pb.ERROR_REASON_WATCH_TOO_SLOW),
    StoreUnavailable: (_Code.UNAVAILABLE, pb.ERROR_REASON_STORE_UNAVAILABLE),
    ShuttingDown: (_Code.UNAVAILABLE, pb.ERROR_REASON_SHUTTING_DOWN),
    StoreFull: (_Code.RESOURCE_EXHAUSTED, pb.ERROR_REASON_STORE_FULL),
    Unauthenticated: (_Code.UNAUTHENTICATED, pb.ERROR_REASON_UNAUTHENTICATED),
    PermissionDenied: (_Code.PERMISSION_DENIED, pb.ERROR_REASON_PERMISSION_DENIED),
    LimitExceeded: (_Code.RESOURCE_EXHAUSTED, pb.ERROR_REASON_LIMIT_EXCEEDED),
}


class Status(NamedTuple):
    """The arguments of `context.abort`."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def status_of(error: BoardError) -> Status:
    """Return the status of an error, with its ErrorInfo."""
    code, reason = TABLE[type(error)]
    return _status(code, str(error), reason, _metadata(error), _more(error))


def code_of(error: BaseException) -> grpc.StatusCode:
    """Return the status code of a call that raises this."""
    match error:
        case BoardError():
            return TABLE[type(error)][0]
        case asyncio.CancelledError():
            return _Code.CANCELLED
        case _:
            return _Code.INTERNAL


def internal(error_id: str) -> Status:
    """Return the status of an unexpected error, with the ID under which it is logged."""
    text = f"internal error {error_id}; see the server's log"
    return _status(_Code.INTERNAL, text, pb.ERROR_REASON_INTERNAL, {"error_id": error_id})


def _metadata(error: BoardError) -> dict[str, str]:
    match error:
        case InvalidArgument():
            return {"field": error.violations[0].field}
        case BoardNotFound():
            return {"board": error.board}
        case FileAlreadyClaimed():
            first = error.conflicts[0]
            return {"filepath": first.filepath, "owner": first.owner}
        case StateMismatch():
            return {
                "phase_id": error.phase_id,
                "expected": error.expected,
                "actual": error.actual,
            }
        case RevisionMismatch():
            return {"expected": str(error.expected), "actual": str(error.actual)}
        case SessionExpired():
            return {"session_id": error.session_id}
        case RevisionCompacted():
            return {"oldest_revision": str(error.oldest)}
        case BoardReplaced():
            return {"board_id": error.board_id}
        case WatchTooSlow():
            return {"last_revision": str(error.last)}
        case LimitExceeded():
            return {"limit": error.limit, "maximum": str(error.maximum)}
        case _:
            return {}


def _more(error: BoardError) -> Iterable[Message]:
    """Return the details after the ErrorInfo."""
    match error:
        case InvalidArgument():
            violations = [
                error_details_pb2.BadRequest.FieldViolation(
                    field=v.field, description=v.description
                )
                for v in error.violations
            ]
            return [error_details_pb2.BadRequest(field_violations=violations)]
        case FileAlreadyClaimed():
            return (
                pb.FileClaimConflict(filepath=claim.filepath, owner=claim.owner)
                for claim in error.conflicts
            )
        case _:
            return ()


def _status(
    code: grpc.StatusCode,
    text: str,
    reason: pb.ErrorReason.ValueType,
    metadata: Mapping[str, str],
    more: Iterable[Message] = (),
) -> Status:
    name = pb.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
    info = error_details_pb2.ErrorInfo(reason=name, domain=DOMAIN, metadata=metadata)
    short = _shortened(text)
    status = status_pb2.Status(code=code.value[0], message=short)
    for detail in [info, *more]:
        status.details.add().Pack(detail)
        if status.ByteSize() > MAX_DETAILS:  # as many details as fit
            del status.details[-1]
            break
    return Status(code, short, ((DETAILS_KEY, status.SerializeToString()),))


def _shortened(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= MAX_TEXT:
        return text
    return encoded[: MAX_TEXT - len("…".encode())].decode(errors="ignore") + "…"
