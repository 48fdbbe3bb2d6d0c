"""The contents of the measured boards, and records of the same size in etcd."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from board_client.v1 import board_pb2 as pb
from board_server.model import ContractDraft, ContractKind, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore

# Compiled at import: the few messages are used only here.
etcd_pb: Any = grpc.protos("benchmarks/etcd.proto")

CONTRACT = 189
"""Bytes of one contract in a reply. Quasar's have 178 on average."""

PHASE = 55
CLAIM = 63

BATCH = 100
"""Contracts in one PublishContracts, and puts in one Txn."""

_CONTRACT_FRAME = 70  # bytes of a contract besides its signature
_KEY_FRAME = 46  # bytes of an etcd entry besides its value


def phase_id(number: int) -> str:
    """Return the ID of a phase."""
    return f"phase-{number:05}"


def signature(number: int, version: int) -> str:
    """Return a signature. Versions differ in their bytes, and not in their length."""
    text = f"func (s *Store) Method{number:07}(version{version:07})"
    return text.ljust(CONTRACT - _CONTRACT_FRAME, "/")


def contract(number: int, version: int = 0) -> pb.Contract:
    """Return the contract with that number. A phase has ten contracts."""
    return pb.Contract(
        producer=phase_id(number // 10),
        kind=pb.CONTRACT_KIND_METHOD,
        name=f"Method{number:07}",
        signature=signature(number, version),
        package="internal/board",
    )


def put(kind: str, number: int, version: int = 0, size: int = CONTRACT) -> Message:
    """Return the etcd Put that stores as many bytes as a board record of `size` bytes."""
    room = size - _KEY_FRAME
    request: Message = etcd_pb.PutRequest(
        key=f"{kind}/{phase_id(number // 10)}/Method{number:07}".encode(),
        value=f"{version:07}(version)".ljust(room, "/")[:room].encode(),
    )
    return request


def put_all(puts: Sequence[Message]) -> Message:
    """Return an etcd Txn of several puts."""
    request: Message = etcd_pb.TxnRequest(
        success=[etcd_pb.RequestOp(request_put=put) for put in puts]
    )
    return request


def every(kind: str) -> Message:
    """Return the etcd Range over all keys of a kind."""
    after = chr(ord("/") + 1)
    request: Message = etcd_pb.RangeRequest(
        key=f"{kind}/".encode(), range_end=f"{kind}{after}".encode()
    )
    return request


def fill_board(
    directory: Path, board: str, *, phases: int = 0, contracts: int = 0, claims: int = 0
) -> None:
    """Create a board file, before a server opens it."""
    asyncio.run(_fill_board(directory, board, phases, contracts, claims))


async def _fill_board(
    directory: Path, board: str, phases: int, contracts: int, claims: int
) -> None:
    store = SqliteStore(directory, synchronous="normal")
    await store.open_board(board)
    for start in range(0, phases, 1000):
        names = [phase_id(number) for number in range(start, min(start + 1000, phases))]
        changes = [PhaseChange(name, PhaseState.RUNNING, "worker-1") for name in names]
        await asyncio.gather(*(store.set_phase_state(board, change) for change in changes))
    for start in range(0, contracts, 1000):
        numbers = range(start, min(start + 1000, contracts))
        await store.publish_contracts(board, [_draft(number) for number in numbers])
    for number in range(claims):
        path = f"internal/package{number:07}/source.go"
        await store.claim_file(board, path, phase_id(number // 100))
    await store.close()


def _draft(number: int) -> ContractDraft:
    message = contract(number)
    return ContractDraft(
        message.producer,
        ContractKind.METHOD,
        message.name,
        message.signature,
        message.package,
    )


def fill_etcd(address: str, puts: Sequence[Message]) -> None:
    """Send the puts to etcd, in batches."""
    with grpc.insecure_channel(address) as channel:
        txn = channel.unary_unary(
            "/etcdserverpb.KV/Txn",
            request_serializer=etcd_pb.TxnRequest.SerializeToString,
            response_deserializer=etcd_pb.TxnResponse.FromString,
        )
        for start in range(0, len(puts), BATCH):
            assert txn(put_all(puts[start : start + BATCH])).succeeded
