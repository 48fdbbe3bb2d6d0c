"""CompletePhase."""

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import refusal


def contract(name):
    return pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name=name)


@pytest.mark.parametrize("state", [pb.PHASE_STATE_DONE, pb.PHASE_STATE_FAILED])
def test_completing_publishes_sets_the_state_and_releases(grpc_stub, board, state):
    grpc_stub.SetPhaseState(
        pb.SetPhaseStateRequest(board=board, phase_id="p", state=pb.PHASE_STATE_RUNNING, worker="w")
    )
    grpc_stub.ClaimFiles(pb.ClaimFilesRequest(board=board, filepaths=["a.go", "b.go"], owner="p"))
    reply = grpc_stub.CompletePhase(
        pb.CompletePhaseRequest(
            board=board, phase_id="p", state=state, contracts=[contract("A"), contract("B")]
        )
    )
    assert (reply.published, reply.released, reply.revision) == (2, 2, 3)
    assert (reply.phase.state, reply.phase.worker) == (state, "w")
    listed = grpc_stub.ListContracts(pb.ListContractsRequest(board=board)).contracts
    assert [c.name for c in listed] == ["A", "B"]
    assert not grpc_stub.ListClaims(pb.ListClaimsRequest(board=board)).claims


def test_in_an_ended_session_it_is_refused_and_changes_nothing(grpc_stub, board):
    request = pb.CompletePhaseRequest(
        board=board,
        phase_id="p",
        state=pb.PHASE_STATE_DONE,
        contracts=[contract("A")],
        session_id="ended",
    )
    found = refusal(grpc_stub.CompletePhase, request)
    assert found.code == grpc.StatusCode.FAILED_PRECONDITION
    assert (found.reason, found.metadata) == ("SESSION_EXPIRED", {"session_id": "ended"})
    assert grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board.revision == 0
