"""GetSnapshot."""

import threading
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.model import FileClaim, Snapshot
from board_server.wire import responses
from tests.rpc.service import refusal_of, whole_board


def contract(name, signature=""):
    return pb.Contract(
        producer="p", kind=pb.CONTRACT_KIND_TYPE, name=name, signature=signature, package="x"
    )


def test_the_snapshot_of_an_empty_board_is_one_part(grpc_stub, board):
    part = whole_board(grpc_stub, board)
    info = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board
    assert part == pb.GetSnapshotResponse(revision=0, board_id=info.board_id)


def test_a_snapshot_equals_the_lists(grpc_stub, board):
    for n in range(3):
        grpc_stub.SetPhaseState(pb.SetPhaseStateRequest(board=board, phase_id=f"p{n}", state=1))
        grpc_stub.PublishContract(
            pb.PublishContractRequest(board=board, contract=contract(f"T{n}"))
        )
        grpc_stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath=f"{n}.go", owner="p"))
        grpc_stub.OpenSession(
            pb.OpenSessionRequest(board=board, worker="w", ttl=timedelta(hours=1))
        )
    part = whole_board(grpc_stub, board)
    assert part.revision == 12
    assert part.phases == grpc_stub.ListPhases(pb.ListPhasesRequest(board=board)).phases
    assert part.contracts == grpc_stub.ListContracts(pb.ListContractsRequest(board=board)).contracts
    assert part.claims == grpc_stub.ListClaims(pb.ListClaimsRequest(board=board)).claims
    sessions = grpc_stub.ListSessions(pb.ListSessionsRequest(board=board)).sessions
    assert [s.session_id for s in part.sessions] == [s.session_id for s in sessions]


def test_a_snapshot_of_a_large_board_has_several_parts_of_one_revision(grpc_stub, board):
    sent = [contract(f"T{n}", "é" * 2**17) for n in range(20)]
    grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=sent))
    parts = list(grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board=board)))
    assert [c.name for part in parts for c in part.contracts] == [c.name for c in sent]
    assert {part.revision for part in parts} == {1}
    assert len({part.board_id for part in parts}) == 1
    assert all(part.ByteSize() <= 2**20 for part in parts)


def test_a_contract_larger_than_a_part_has_a_part_of_its_own(grpc_stub, board):
    sent = [contract("small"), contract("large", "x" * 2**20), contract("last")]
    grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=sent))
    parts = list(grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board=board)))
    assert [[c.name for c in part.contracts] for part in parts] == [["small"], ["large"], ["last"]]


def test_parts_of_many_small_records_stay_under_a_mebibyte():
    moment = datetime(2026, 2, 23, tzinfo=UTC)
    claims = [FileClaim(f"{number:x}", "p", moment) for number in range(100_000)]
    parts = list(responses.snapshot_parts(Snapshot("", 1, [], [], claims, [])))
    assert sum(len(part.claims) for part in parts) == len(claims)
    assert len(parts) > 1
    assert all(part.ByteSize() < 2**20 for part in parts)


def test_a_snapshot_goes_through_a_channel_with_default_limits(grpc_addr, grpc_stub, board):
    sent = [contract(f"T{n}", "x" * 2**19) for n in range(20)]  # more than 4 MiB
    grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=sent))
    with grpc.insecure_channel(grpc_addr) as channel:
        parts = list(BoardServiceStub(channel).GetSnapshot(pb.GetSnapshotRequest(board=board)))
    assert sum(len(part.contracts) for part in parts) == 20


def test_watching_from_a_snapshot_on_keeps_it_up_to_date(grpc_stub, board):
    """Also if much is written between the snapshot and the watch."""
    writer = threading.Thread(
        target=lambda: [
            grpc_stub.ClaimFile(
                pb.ClaimFileRequest(board=board, filepath=f"{number:03}.go", owner="p")
            )
            for number in range(100)
        ]
    )
    writer.start()
    revision = 0
    while revision < 80:
        part = whole_board(grpc_stub, board)
        revision, paths = part.revision, [claim.filepath for claim in part.claims]
        assert len(paths) == revision
        request = pb.WatchRequest(board=board, after_revision=revision, board_id=part.board_id)
        stream = grpc_stub.Watch(request, timeout=30)
        for message in stream:
            paths += [event.claimed.filepath for event in message.events]
            if message.events or message.revision == 100:
                break
        assert paths == [f"{number:03}.go" for number in range(len(paths))]
        stream.cancel()
    writer.join()


def test_a_snapshot_of_a_board_that_does_not_exist_is_refused(grpc_stub):
    stream = grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board="nowhere"))
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert refusal_of(caught.value).reason == "BOARD_NOT_FOUND"
