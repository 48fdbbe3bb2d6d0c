"""What is on the boards that are measured, and the same bytes in etcd."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from board_client.v1 import board_pb2 as pb
from board_server.model import ContractDraft, ContractKind, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore

# Compiled here and now: its few messages are nobody's interface.
etcd_pb: Any = grpc.protos("benchmarks/etcd.proto")

CONTRACT = 189
"""Bytes of one contract in a reply; quasar's own have 178 on average."""

PHASE = 55
CLAIM = 63

BATCH = 100
"""Contracts in one PublishContracts, and puts in one Txn."""

_CONTRACT_FRAME = 70  # bytes of a contract beside its signature
_KEY_FRAME = 46  # bytes of a key's entry beside its value


def phase_id(number: int) -> str:
    """Name a phase."""
    return f"phase-{number:05}"


def signature(number: int, version: int) -> str:
    """Make a signature; each version has other bytes, as many."""
    text = f"func (s *Store) Method{number:07}(version{version:07})"
    return text.ljust(CONTRACT - _CONTRACT_FRAME, "/")


def contract(number: int, version: int = 0) -> pb.Contract:
    """Make the contract of a number, ten to a phase."""
    return pb.Contract(
        producer=phase_id(number // 10),
        kind=pb.CONTRACT_KIND_METHOD,
        name=f"Method{number:07}",
        signature=signature(number, version),
        package="internal/board",
    )


def put(kind: str, number: int, version: int = 0, size: int = CONTRACT) -> Message:
    """Make etcd's Put for what is one record of `size` bytes on the board."""
    room = size - _KEY_FRAME
    request: Message = etcd_pb.PutRequest(
        key=f"{kind}/{phase_id(number // 10)}/Method{number:07}".encode(),
        value=f"{version:07}(version)".ljust(room, "/")[:room].encode(),
    )
    return request


def put_all(puts: Sequence[Message]) -> Message:
    """Make the Txn of several puts."""
    request: Message = etcd_pb.TxnRequest(
        success=[etcd_pb.RequestOp(request_put=put) for put in puts]
    )
    return request


def every(kind: str) -> Message:
    """Make the Range over all keys of a kind."""
    after = chr(ord("/") + 1)
    request: Message = etcd_pb.RangeRequest(
        key=f"{kind}/".encode(), range_end=f"{kind}{after}".encode()
    )
    return request


def fill_board(
    directory: Path, board: str, *, phases: int = 0, contracts: int = 0, claims: int = 0
) -> None:
    """Write a board file, before a server opens it."""
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
    """Write them."""
    with grpc.insecure_channel(address) as channel:
        txn = channel.unary_unary(
            "/etcdserverpb.KV/Txn",
            request_serializer=etcd_pb.TxnRequest.SerializeToString,
            response_deserializer=etcd_pb.TxnResponse.FromString,
        )
        for start in range(0, len(puts), BATCH):
            assert txn(put_all(puts[start : start + BATCH])).succeeded
