"""GetSnapshot."""

from datetime import timedelta

from board_client.v1 import board_pb2 as pb


def contract(name, signature=""):
    return pb.Contract(
        producer="p", kind=pb.CONTRACT_KIND_TYPE, name=name, signature=signature, package="x"
    )


def test_the_snapshot_of_an_empty_board_is_one_part(grpc_stub, board):
    (part,) = grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board=board))
    info = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board
    assert part == pb.GetSnapshotResponse(revision=0, board_id=info.board_id)


def test_a_snapshot_holds_what_the_lists_hold(grpc_stub, board):
    for n in range(3):
        grpc_stub.SetPhaseState(pb.SetPhaseStateRequest(board=board, phase_id=f"p{n}", state=1))
        grpc_stub.PublishContract(
            pb.PublishContractRequest(board=board, contract=contract(f"T{n}"))
        )
        grpc_stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath=f"{n}.go", owner="p"))
        grpc_stub.OpenSession(
            pb.OpenSessionRequest(board=board, worker="w", ttl=timedelta(hours=1))
        )
    (part,) = grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board=board))
    assert part.revision == 12
    assert part.phases == grpc_stub.ListPhases(pb.ListPhasesRequest(board=board)).phases
    assert part.contracts == grpc_stub.ListContracts(pb.ListContractsRequest(board=board)).contracts
    assert part.claims == grpc_stub.ListClaims(pb.ListClaimsRequest(board=board)).claims
    sessions = grpc_stub.ListSessions(pb.ListSessionsRequest(board=board)).sessions
    assert [s.session_id for s in part.sessions] == [s.session_id for s in sessions]


def test_a_large_board_comes_in_parts_of_one_revision_and_nothing_is_lost(grpc_stub, board):
    sent = [contract(f"T{n}", "é" * 2**17) for n in range(20)]
    grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=sent))
    parts = list(grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board=board)))
    assert [c.name for part in parts for c in part.contracts] == [c.name for c in sent]
    assert {part.revision for part in parts} == {1}
    assert len({part.board_id for part in parts}) == 1
    assert all(part.ByteSize() <= 2**20 for part in parts)
