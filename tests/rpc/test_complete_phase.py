"""CompletePhase: a worker's last call for a phase."""

from datetime import timedelta

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import invalid, refusal, whole_board


@pytest.fixture
def complete(grpc_stub, board):
    def complete(state=pb.PHASE_STATE_DONE, contracts=(), session_id=""):
        return grpc_stub.CompletePhase(
            pb.CompletePhaseRequest(
                board=board,
                phase_id="p",
                state=state,
                contracts=contracts,
                session_id=session_id,
            )
        )

    return complete


@pytest.fixture
def at_work(grpc_stub, board):
    """Set phase p RUNNING and claim two files for it, in a session if one is given."""

    def at_work(session_id=""):
        grpc_stub.SetPhaseState(
            pb.SetPhaseStateRequest(
                board=board,
                phase_id="p",
                state=pb.PHASE_STATE_RUNNING,
                worker="w",
                session_id=session_id,
            )
        )
        grpc_stub.ClaimFiles(
            pb.ClaimFilesRequest(
                board=board, filepaths=["a.go", "b.go"], owner="p", session_id=session_id
            )
        )

    return at_work


@pytest.fixture
def snapshot(grpc_stub, board):
    """Read the whole board without its sessions, whose times of expiry change."""

    def snapshot():
        part = whole_board(grpc_stub, board)
        del part.sessions[:]
        return part

    return snapshot


def contract(name, producer="p"):
    return pb.Contract(producer=producer, kind=pb.CONTRACT_KIND_TYPE, name=name)


@pytest.mark.parametrize("state", [pb.PHASE_STATE_DONE, pb.PHASE_STATE_FAILED])
def test_completing_publishes_sets_the_state_and_releases(at_work, complete, snapshot, state):
    at_work()
    reply = complete(state, [contract("A"), contract("B")])
    assert (reply.published, reply.released, reply.revision) == (2, 2, 3)
    assert (reply.phase.phase_id, reply.phase.state, reply.phase.worker) == ("p", state, "w")
    board = snapshot()
    assert list(board.phases) == [reply.phase]
    assert [c.name for c in board.contracts] == ["A", "B"]
    assert not board.claims


def test_completing_is_one_revision_with_all_its_events(grpc_stub, board, at_work, complete):
    at_work()
    stream = grpc_stub.Watch(pb.WatchRequest(board=board), timeout=30)
    next(stream)
    reply = complete(contracts=[contract("A"), contract("B")])
    message = next(stream)
    stream.cancel()
    changes = sorted(event.WhichOneof("change") for event in message.events)
    assert changes == ["contract", "contract", "phase", "released", "released"]
    assert {event.revision for event in message.events} == {reply.revision}
    assert len({event.time.ToNanoseconds() for event in message.events}) == 1


def test_completing_counts_the_distinct_contracts(complete):
    twice = [contract("A"), contract("B"), contract("A")]
    assert complete(contracts=twice).published == 2
    assert complete(contracts=twice).published == 2


def test_the_contracts_may_be_of_another_producer(complete, snapshot):
    """As in PublishContracts: any phase may publish for any producer."""
    complete(contracts=[contract("A", "q")])
    assert [c.producer for c in snapshot().contracts] == ["q"]


@pytest.mark.parametrize(
    "state", [n for n in pb.PhaseState.values() if pb.PhaseState.Name(n)[12:] not in "DONE FAILED"]
)
def test_a_phase_is_completed_as_done_or_failed_only(grpc_stub, board, at_work, snapshot, state):
    at_work()
    before = snapshot()
    request = pb.CompletePhaseRequest(
        board=board, phase_id="p", state=state, contracts=[contract("A")]
    )
    assert invalid(grpc_stub.CompletePhase, request) == ("state",)
    assert snapshot() == before


def test_one_invalid_contract_changes_nothing(grpc_stub, board, at_work, snapshot):
    at_work()
    before = snapshot()
    request = pb.CompletePhaseRequest(
        board=board,
        phase_id="p",
        state=pb.PHASE_STATE_DONE,
        contracts=[contract("A"), contract("")],
    )
    assert invalid(grpc_stub.CompletePhase, request) == ("contracts[1].name",)
    assert snapshot() == before


def test_the_end_of_a_session_does_not_change_its_completed_phase(
    grpc_stub, board, at_work, complete, snapshot
):
    opened = grpc_stub.OpenSession(pb.OpenSessionRequest(board=board, ttl=timedelta(hours=1)))
    session_id = opened.session.session_id
    at_work(session_id)
    done = complete(session_id=session_id)
    assert (done.phase.session_id, done.released) == ("", 2)
    closed = grpc_stub.CloseSession(pb.CloseSessionRequest(board=board, session_id=session_id))
    assert (closed.released, closed.revision) == (0, done.revision + 1)
    assert list(snapshot().phases) == [done.phase]


def test_in_an_ended_session_it_is_refused_and_changes_nothing(grpc_stub, board, at_work, snapshot):
    at_work()
    before = snapshot()
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
    assert snapshot() == before
