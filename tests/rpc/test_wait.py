"""WaitFor."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import refusal

DONE = pb.WaitCondition(
    phase=pb.PhaseCondition(phase_id="p", states=[pb.PHASE_STATE_DONE, pb.PHASE_STATE_FAILED])
)
OPEN = pb.WaitCondition(contract=pb.ContractCondition(name="Open"))
FREE = pb.WaitCondition(file_free=pb.FileCondition(filepath="a.go"))


@pytest.fixture
def wait(grpc_stub, board):
    return lambda *conditions, timeout=30: grpc_stub.WaitFor(
        pb.WaitForRequest(board=board, conditions=conditions), timeout=timeout
    )


@pytest.fixture
def finish(grpc_stub, board):
    contract = pb.Contract(producer="p", kind=pb.CONTRACT_KIND_FUNCTION, name="Open")
    return lambda: grpc_stub.CompletePhase(
        pb.CompletePhaseRequest(
            board=board, phase_id="p", state=pb.PHASE_STATE_DONE, contracts=[contract]
        )
    )


def test_what_holds_already_is_answered_at_once(wait, finish):
    phase = finish().phase
    reply = wait(OPEN, FREE, DONE)
    assert (reply.revision, list(reply.phases)) == (1, [phase])
    assert [contract.name for contract in reply.contracts] == ["Open"]


def test_a_waiter_is_answered_when_all_its_conditions_hold(grpc_stub, board, wait, finish):
    grpc_stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath="a.go", owner="p"))
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(wait, *conditions) for conditions in ([DONE], [OPEN], [FREE])]
        waiting.append(pool.submit(wait, DONE, OPEN, FREE))
        revision = finish().revision
        assert {call.result().revision for call in waiting} == {revision}


def test_what_does_not_come_true_ends_in_the_deadline(wait):
    with pytest.raises(grpc.RpcError) as caught:
        wait(DONE, FREE, timeout=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_waiting_on_a_board_that_nobody_opened_is_refused(grpc_stub):
    request = pb.WaitForRequest(board="nowhere", conditions=[FREE])
    assert refusal(grpc_stub.WaitFor, request).reason == "BOARD_NOT_FOUND"
