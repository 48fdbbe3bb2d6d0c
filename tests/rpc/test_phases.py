"""SetPhaseState, GetPhaseState and ListPhases."""

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import refusal

STATES = [number for number in pb.PhaseState.values() if number]


@pytest.fixture
def set_state(grpc_stub, board):
    def call(phase_id, state=pb.PHASE_STATE_QUEUED, **fields):
        return grpc_stub.SetPhaseState(
            pb.SetPhaseStateRequest(board=board, phase_id=phase_id, state=state, **fields)
        )

    return call


@pytest.fixture
def get(grpc_stub, board):
    return lambda phase_id: grpc_stub.GetPhaseState(
        pb.GetPhaseStateRequest(board=board, phase_id=phase_id)
    )


@pytest.mark.parametrize("state", STATES, ids=pb.PhaseState.Name)
def test_a_phase_reads_back_in_every_state(set_state, get, state):
    reply = set_state("p", state, worker="w1")
    assert (reply.phase.phase_id, reply.phase.state, reply.phase.worker) == ("p", state, "w1")
    assert reply.revision == 1
    assert get("p").phase == reply.phase


def test_an_unknown_phase_is_not_an_error(get):
    assert not get("nobody").HasField("phase")


def test_posted_at_stays_and_updated_at_moves(set_state):
    first, second = set_state("p").phase, set_state("p").phase
    assert second.posted_at == first.posted_at == first.updated_at
    assert second.updated_at.ToNanoseconds() > first.updated_at.ToNanoseconds()


def test_every_call_makes_a_revision(set_state):
    assert [set_state("p").revision for _ in range(3)] == [1, 2, 3]


def test_an_absent_worker_keeps_the_current_one_and_an_empty_one_clears_it(set_state):
    assert set_state("p", worker="w1").phase.worker == "w1"
    assert set_state("p").phase.worker == "w1"
    assert set_state("p", worker="").phase.worker == ""


def test_the_expected_state_lets_the_change_through(set_state):
    set_state("p")
    reply = set_state("p", pb.PHASE_STATE_RUNNING, expected_state=pb.PHASE_STATE_QUEUED)
    assert reply.phase.state == pb.PHASE_STATE_RUNNING


@pytest.mark.parametrize("exists", [True, False])
def test_a_state_mismatch_names_the_actual_state(grpc_stub, board, set_state, get, exists):
    if exists:
        set_state("p", pb.PHASE_STATE_HUMAN_DECISION)
    before = get("p")
    found = refusal(
        grpc_stub.SetPhaseState,
        pb.SetPhaseStateRequest(
            board=board,
            phase_id="p",
            state=pb.PHASE_STATE_RUNNING,
            expected_state=pb.PHASE_STATE_QUEUED,
        ),
    )
    assert found.code == grpc.StatusCode.FAILED_PRECONDITION
    assert found.reason == "STATE_MISMATCH"
    assert found.metadata == {
        "phase_id": "p",
        "expected": "queued",
        "actual": "human_decision" if exists else "",
    }
    assert get("p") == before


def test_phases_are_listed_as_they_were_posted(grpc_stub, board, set_state):
    for phase_id in ("b", "a", "c"):
        set_state(phase_id)
    set_state("b", pb.PHASE_STATE_DONE)
    reply = grpc_stub.ListPhases(pb.ListPhasesRequest(board=board))
    assert [phase.phase_id for phase in reply.phases] == ["b", "a", "c"]
    assert (reply.revision, reply.next_page_token) == (4, "")


def test_the_list_keeps_to_the_states_that_are_named(grpc_stub, board, set_state):
    for state in STATES:
        set_state(f"p{state}", state)
    wanted = [pb.PHASE_STATE_DONE, pb.PHASE_STATE_FAILED, pb.PHASE_STATE_DONE]
    reply = grpc_stub.ListPhases(pb.ListPhasesRequest(board=board, states=wanted))
    assert [phase.state for phase in reply.phases] == wanted[:2]
