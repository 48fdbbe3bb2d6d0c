"""The RPCs of the service, from its descriptor, so that tests of every RPC include new ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from board_client.v1 import board_pb2 as pb
from board_server.wire.statuses import DETAILS_KEY

SERVICE = pb.DESCRIPTOR.services_by_name["BoardService"]

REQUESTS = {method.name: getattr(pb, method.input_type.name) for method in SERVICE.methods}
"""The request class of each RPC."""

each_rpc = pytest.mark.parametrize("rpc", REQUESTS)

GOOD = {
    "OpenBoard": {},
    "ListBoards": {},
    "SetPhaseState": {"phase_id": "p", "state": pb.PHASE_STATE_QUEUED},
    "GetPhaseState": {"phase_id": "p"},
    "ListPhases": {},
    "PublishContract": {
        "contract": pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name="T")
    },
    "PublishContracts": {},
    "ListContracts": {},
    "ClaimFile": {"filepath": "a.go", "owner": "p"},
    "ClaimFiles": {"filepaths": ["a.go"], "owner": "p"},
    "ReleaseClaims": {"owner": "p"},
    "GetFileOwner": {"filepath": "a.go"},
    "ListClaims": {},
    "CompletePhase": {"phase_id": "p", "state": pb.PHASE_STATE_DONE},
    "GetSnapshot": {},
    "Watch": {},
    "WaitFor": {
        "conditions": [pb.WaitCondition(file_free=pb.FileCondition(filepath="nobody/has/this.go"))]
    },
    "OpenSession": {"worker": "w", "ttl": timedelta(seconds=60)},
    "RenewSession": {"session_id": "unknown"},
    "CloseSession": {"session_id": "unknown"},
    "ListSessions": {},
    "ArchiveBoard": {},
}
"""The fields of a valid request of each RPC, without `board`."""

REASONS = {
    "SetPhaseState": {"STATE_MISMATCH"},
    "ClaimFile": {"FILE_ALREADY_CLAIMED"},
    "ClaimFiles": {"FILE_ALREADY_CLAIMED"},
    "ArchiveBoard": {"REVISION_MISMATCH", "BOARD_REPLACED"},
    "Watch": {"REVISION_COMPACTED", "BOARD_REPLACED"},
}
"""The reasons with which each RPC may fail, as its comment in the proto says."""

PATIENCE = 30
"""Seconds that a call may take before its test fails."""

WAIT = 0.1
"""The deadline, in seconds, of a WaitFor whose conditions may never be met."""


def make(rpc: str, **fields: Any) -> Message:
    """Make a request of an RPC."""
    return REQUESTS[rpc](**fields)


def first_reply(method: Any, rpc: str, patience: float = PATIENCE) -> Callable[[Any], Any]:
    """Return a function from a request to its reply, or to the first message of a stream."""

    def call(request: Any) -> Any:
        reply = method(request, timeout=patience)
        if not SERVICE.methods_by_name[rpc].server_streaming:
            return reply
        try:
            return next(reply)
        finally:
            reply.cancel()

    return call


def call_of(stub: Any, rpc: str, patience: float = PATIENCE) -> Callable[[Any], Any]:
    """Return the RPC as a function like that of `first_reply`."""
    return first_reply(getattr(stub, rpc), rpc, patience)


def whole_board(stub: Any, board: str = "") -> pb.GetSnapshotResponse:
    """Return a snapshot, with its parts merged."""
    whole = pb.GetSnapshotResponse()
    for part in stub.GetSnapshot(pb.GetSnapshotRequest(board=board)):
        whole.MergeFrom(part)
    return whole


def is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING


def names_a_field(path: str, message: Descriptor) -> bool:
    """Return whether a path such as `contracts[3].name` leads to a field of the message."""
    for part in path.split("."):
        name, bracket, index = part.partition("[")
        found = message.fields_by_name.get(name) if message else None
        if found is None or (bracket and not index.removesuffix("]").isdecimal()):
            return False
        message = found.message_type
    return True


def is_documented(rpc: str, refusal: "Refusal") -> bool:
    """Return whether the proto says that the RPC may fail like this."""
    if refusal.code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return rpc == "WaitFor"
    reasons = {"INVALID_ARGUMENT", "BOARD_NOT_FOUND"} | REASONS.get(rpc, set())
    if "session_id" in REQUESTS[rpc].DESCRIPTOR.fields_by_name:
        reasons.add("SESSION_EXPIRED")
    return refusal.reason in reasons and all(
        names_a_field(field, REQUESTS[rpc].DESCRIPTOR) or field == "request"
        for field in refusal.fields
    )


@dataclass(frozen=True)
class Refusal:
    """An error of a call: its code, text, reason, the reason's metadata, the invalid fields."""

    code: grpc.StatusCode
    text: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()


MAX_HEADERS = 8192
"""Bytes of headers that a channel accepts by default. With more than that, grpc refuses some calls
and accepts others."""

_PLAIN = 42 + 60 + 44
"""Bytes that grpc counts for :status, content-type and grpc-status."""


def header_size(text: str, details: bytes) -> int:
    """Count the headers of an error as grpc does: each its name, its value and 32 bytes."""
    percent_encoded = sum(1 if 32 <= c <= 126 and c != 37 else 3 for c in text.encode())
    message = len("grpc-message") + percent_encoded + 32
    return _PLAIN + message + len(DETAILS_KEY) + len(details) + 32


def refusal_of(error: grpc.RpcError) -> Refusal:
    """Read an error, and check that its details agree with its code and text."""
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if details is None:
        return Refusal(error.code(), error.details())
    assert header_size(error.details(), details) < MAX_HEADERS
    status = status_pb2.Status.FromString(details)
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert sum(detail.Unpack(info) for detail in status.details) == 1
    assert info.domain == "board.v1"
    assert f"ERROR_REASON_{info.reason}" in pb.ErrorReason.keys()
    assert sum(detail.Unpack(bad_request) for detail in status.details) == (
        info.reason == "INVALID_ARGUMENT"
    )
    violations = bad_request.field_violations
    assert all(violation.description for violation in violations)
    fields = tuple(violation.field for violation in violations)
    return Refusal(error.code(), error.details(), info.reason, dict(info.metadata), fields)


def refusal(call, request) -> Refusal:
    """Make a call that must fail; return its error."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return refusal_of(caught.value)


def ending(call, request) -> Refusal | None:
    """Make a call that may fail; return its error, or None if it succeeded."""
    try:
        call(request)
    except grpc.RpcError as error:
        return refusal_of(error)
    return None


def invalid(call, request) -> tuple[str, ...]:
    """Make a call that must be refused for its fields; return their names."""
    found = refusal(call, request)
    assert found.code == grpc.StatusCode.INVALID_ARGUMENT
    assert found.reason == "INVALID_ARGUMENT"
    assert found.metadata == {"field": found.fields[0]}
    assert found.fields[0] in found.text
    return found.fields
