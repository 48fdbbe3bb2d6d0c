"""OpenSession, RenewSession, CloseSession and ListSessions."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import GOOD, REQUESTS, invalid, make, refusal


@pytest.fixture
def opened(grpc_stub, board):
    def call(ttl=timedelta(hours=1), **fields):
        return grpc_stub.OpenSession(
            pb.OpenSessionRequest(board=board, worker="w", ttl=ttl, **fields)
        )

    return call


@pytest.fixture
def run(grpc_stub, board):
    """Set the phase p to RUNNING and claim a.go for it, in a session."""

    def call(session_id):
        grpc_stub.SetPhaseState(
            pb.SetPhaseStateRequest(
                board=board,
                phase_id="p",
                state=pb.PHASE_STATE_RUNNING,
                worker="w",
                session_id=session_id,
            )
        )
        return grpc_stub.ClaimFile(
            pb.ClaimFileRequest(board=board, filepath="a.go", owner="p", session_id=session_id)
        )

    return call


def state_of(grpc_stub, board):
    return grpc_stub.GetPhaseState(pb.GetPhaseStateRequest(board=board, phase_id="p")).phase.state


def test_an_opened_session_is_returned_and_listed(grpc_stub, board, opened):
    reply = opened(ttl=timedelta(seconds=1.5), on_expiry=pb.ON_EXPIRY_REQUEUE)
    session = reply.session
    assert session.session_id
    assert (session.worker, session.on_expiry) == ("w", pb.ON_EXPIRY_REQUEUE)
    assert session.ttl.ToTimedelta() == timedelta(seconds=1.5)
    assert session.HasField("expires_at")
    assert reply.revision == 1
    (listed,) = grpc_stub.ListSessions(pb.ListSessionsRequest(board=board)).sessions
    assert listed.session_id == session.session_id


def test_an_unspecified_end_means_fail(opened):
    assert opened().session.on_expiry == pb.ON_EXPIRY_FAIL


def test_renewing_makes_no_revision(grpc_stub, board, opened):
    session = opened().session
    request = pb.RenewSessionRequest(board=board, session_id=session.session_id)
    reply = grpc_stub.RenewSession(request)
    assert reply.revision == 1
    assert reply.session.session_id == session.session_id
    assert reply.session.expires_at.ToNanoseconds() >= session.expires_at.ToNanoseconds()


@pytest.mark.parametrize(
    ("on_expiry", "state"),
    [
        (pb.ON_EXPIRY_FAIL, pb.PHASE_STATE_FAILED),
        (pb.ON_EXPIRY_REQUEUE, pb.PHASE_STATE_QUEUED),
    ],
)
def test_closing_ends_the_running_phase_and_releases_its_files(
    grpc_stub, board, opened, run, on_expiry, state
):
    session_id = opened(on_expiry=on_expiry).session.session_id
    assert run(session_id).claim.session_id == session_id
    request = pb.CloseSessionRequest(board=board, session_id=session_id)
    reply = grpc_stub.CloseSession(request)
    assert (reply.released, reply.revision) == (1, 4)
    assert state_of(grpc_stub, board) == state
    assert not grpc_stub.ListSessions(pb.ListSessionsRequest(board=board)).sessions
    found = refusal(grpc_stub.CloseSession, request)
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_EXPIRED")
    assert found.metadata == {"session_id": session_id}


def test_a_session_that_is_not_renewed_expires_and_watches_show_why(grpc_stub, board, opened, run):
    stream = grpc_stub.Watch(pb.WatchRequest(board=board), timeout=60)
    next(stream)
    session_id = opened(ttl=timedelta(seconds=1)).session.session_id
    run(session_id)
    for message in stream:
        ended = [event for event in message.events if event.HasField("session_ended")]
        if ended:
            break
    assert ended[0].session_ended.session_id == session_id
    assert {event.cause for event in message.events} == {pb.EVENT_CAUSE_SESSION_EXPIRED}
    assert state_of(grpc_stub, board) == pb.PHASE_STATE_FAILED
    stream.cancel()
    request = pb.ClaimFileRequest(board=board, filepath="b.go", owner="p", session_id=session_id)
    assert refusal(grpc_stub.ClaimFile, request).reason == "SESSION_EXPIRED"


@pytest.mark.parametrize(
    "ttl",
    [
        {},
        {"seconds": -1},
        {"nanos": 999_999_999},
        {"seconds": 24 * 60 * 60, "nanos": 1_000_000},
        {"seconds": 2**40},
        {"seconds": -(2**63)},
    ],
    ids=str,
)
def test_a_ttl_under_a_second_or_over_a_day_is_refused(grpc_stub, board, ttl):
    request = pb.OpenSessionRequest(board=board, worker="w", ttl=ttl)
    assert invalid(grpc_stub.OpenSession, request) == ("ttl",)
    assert not grpc_stub.ListSessions(pb.ListSessionsRequest(board=board)).sessions


def test_a_session_without_a_ttl_is_refused(grpc_stub, board):
    request = pb.OpenSessionRequest(board=board, worker="w")
    assert invalid(grpc_stub.OpenSession, request) == ("ttl",)


@pytest.mark.parametrize("ttl", [timedelta(seconds=1), timedelta(hours=24)], ids=str)
def test_a_ttl_may_be_a_second_or_a_day(opened, ttl):
    assert opened(ttl=ttl).session.ttl.ToTimedelta() == ttl


def test_a_session_says_when_it_expires(opened):
    before = datetime.now(UTC)
    session = opened(ttl=timedelta(hours=1)).session
    expires_at = session.expires_at.ToDatetime(UTC)
    assert before <= expires_at - timedelta(hours=1) <= datetime.now(UTC)


def test_a_record_that_is_bound_to_a_session_names_it(grpc_stub, board, opened, run):
    session_id = opened().session.session_id
    run(session_id)
    (phase,) = grpc_stub.ListPhases(pb.ListPhasesRequest(board=board)).phases
    (claim,) = grpc_stub.ListClaims(pb.ListClaimsRequest(board=board)).claims
    assert (phase.session_id, claim.session_id) == (session_id, session_id)


def test_phases_and_claims_without_a_session_never_expire(grpc_stub, board, opened, run):
    run("")
    session_id = opened().session.session_id
    request = pb.CloseSessionRequest(board=board, session_id=session_id)
    assert grpc_stub.CloseSession(request).released == 0
    assert state_of(grpc_stub, board) == pb.PHASE_STATE_RUNNING
    owner = grpc_stub.GetFileOwner(pb.GetFileOwnerRequest(board=board, filepath="a.go")).owner
    assert owner == "p"


@pytest.mark.parametrize(
    "rpc",
    [rpc for rpc, request in REQUESTS.items() if "session_id" in request.DESCRIPTOR.fields_by_name],
)
@pytest.mark.parametrize("which", ["ended", "unknown", "of another board"])
def test_every_call_in_an_ended_session_is_refused_and_changes_nothing(
    grpc_stub, board, opened, rpc, which
):
    other = f"{board}-{which.replace(' ', '-')}-{rpc}"
    match which:
        case "ended":
            session_id = opened().session.session_id
            grpc_stub.CloseSession(pb.CloseSessionRequest(board=board, session_id=session_id))
        case "of another board":
            grpc_stub.OpenBoard(pb.OpenBoardRequest(board=other))
            request = pb.OpenSessionRequest(board=other, ttl=timedelta(hours=1))
            session_id = grpc_stub.OpenSession(request).session.session_id
        case _:
            session_id = "unknown"
    before = list(grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board=board)))
    request = make(rpc, **(GOOD[rpc] | {"board": board, "session_id": session_id}))
    found = refusal(getattr(grpc_stub, rpc), request)
    assert found.code == grpc.StatusCode.FAILED_PRECONDITION
    assert (found.reason, found.metadata) == ("SESSION_EXPIRED", {"session_id": session_id})
    assert list(grpc_stub.GetSnapshot(pb.GetSnapshotRequest(board=board))) == before
