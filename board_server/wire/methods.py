"""The methods of the service: what the descriptor says of each, and one row for the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.message import Message

from board_client.v1 import board_pb2 as pb
from board_server.principal import Role
from board_server.wire.validation import MAX_BATCH_BYTES, MAX_SIGNATURE

SERVICE = pb.DESCRIPTOR.services_by_name["BoardService"]

BESIDE = 64 * 2**10
"""Bytes of a request in addition to its largest field: names, paths, fields of later versions."""

SMALL = 2**20
BATCH = MAX_BATCH_BYTES + BESIDE


class Row(NamedTuple):
    """What the descriptor cannot say about a method.

    `make generate` writes the tables of docs/security.md from these rows.

    `role` is the lowest role that may call the method. `bounds` names the settings that bound
    what a call makes the server hold in addition to its request. `largest` is the size of the
    largest valid request in bytes. A call of a `long_running` method lasts as long as its client
    wants.
    """

    role: Role
    bounds: tuple[str, ...]
    largest: int = SMALL
    long_running: bool = False


ROWS: Mapping[str, Row] = {
    "OpenBoard": Row(Role.DISPATCHER, ("max_boards",)),
    "ListBoards": Row(Role.READER, ("max_unread",)),
    "SetPhaseState": Row(Role.WORKER, ("max_queue",)),
    "GetPhaseState": Row(Role.READER, ()),
    "ListPhases": Row(Role.READER, ("max_unread",)),
    "PublishContract": Row(Role.WORKER, ("max_queue", "max_unread"), MAX_SIGNATURE + BESIDE),
    "PublishContracts": Row(Role.WORKER, ("max_queue",), BATCH),
    "ListContracts": Row(Role.READER, ("max_unread",)),
    "ClaimFile": Row(Role.WORKER, ("max_queue",)),
    "ClaimFiles": Row(Role.WORKER, ("max_queue", "max_unread"), BATCH),
    "ReleaseClaims": Row(Role.WORKER, ("max_queue",), BATCH),
    "GetFileOwner": Row(Role.READER, ("max_unread",)),
    "ListClaims": Row(Role.READER, ("max_unread",)),
    "CompletePhase": Row(Role.WORKER, ("max_queue",), BATCH),
    "GetSnapshot": Row(Role.READER, ("max_snapshots", "max_unread")),
    "Watch": Row(Role.READER, ("max_watches", "max_unread"), long_running=True),
    "WaitFor": Row(
        Role.READER,
        ("max_waiters", "max_held", "max_unread"),
        SMALL + BESIDE,
        long_running=True,
    ),
    "OpenSession": Row(Role.WORKER, ("max_sessions", "max_queue")),
    "RenewSession": Row(Role.WORKER, ()),
    "CloseSession": Row(Role.WORKER, ("max_queue",)),
    "ListSessions": Row(Role.READER, ("max_unread",)),
    "ArchiveBoard": Row(Role.ADMIN, ("max_queue",)),
}


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the service.

    `reads` says that it has no side effects, `keyed` that a call may have an idempotency key,
    and `streams` that it answers with a stream.
    """

    name: str
    row: Row
    request: type[Message]
    reads: bool
    keyed: bool
    streams: bool


def _methods() -> dict[str, Method]:
    level = descriptor_pb2.MethodOptions
    found = {}
    for name, method in SERVICE.methods_by_name.items():
        idempotency = method.GetOptions().idempotency_level
        found[name] = Method(
            name,
            ROWS[name],
            message_factory.GetMessageClass(method.input_type),
            reads=idempotency == level.NO_SIDE_EFFECTS,
            keyed=idempotency == level.IDEMPOTENCY_UNKNOWN,
            streams=method.server_streaming,
        )
    return found


METHODS: Mapping[str, Method] = _methods()

LONG_RUNNING = frozenset(name for name, row in ROWS.items() if row.long_running)
"""Methods whose calls last as long as their clients want."""
