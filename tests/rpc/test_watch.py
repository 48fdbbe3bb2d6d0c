"""Watch."""

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import refusal_of


@pytest.fixture
def watch(grpc_stub, board):
    """Begin a watch; its first message has come."""
    streams = []

    def begin(**fields):
        stream = grpc_stub.Watch(pb.WatchRequest(board=board, **fields), timeout=60)
        streams.append(stream)
        first = next(stream)
        assert not first.events
        return first, stream

    yield begin
    for stream in streams:
        stream.cancel()


@pytest.fixture
def claim(grpc_stub, board):
    return lambda path: grpc_stub.ClaimFile(
        pb.ClaimFileRequest(board=board, filepath=path, owner="p")
    )


def events(stream, upto):
    """Read a stream up to a revision; return its events."""
    read = []
    for message in stream:
        read += message.events
        if message.revision >= upto:
            return read
    raise AssertionError("the stream has ended")


def test_the_first_message_tells_where_the_watch_stands(grpc_stub, board, watch, claim):
    claim("a.go")
    first, _ = watch()
    info = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board
    assert (first.revision, first.board_id) == (1, info.board_id)


def test_what_happens_from_then_on_is_told(grpc_stub, board, watch, claim):
    claim("before.go")
    _, stream = watch()
    held = claim("a.go").claim
    phase = grpc_stub.SetPhaseState(
        pb.SetPhaseStateRequest(board=board, phase_id="p", state=pb.PHASE_STATE_RUNNING)
    ).phase
    grpc_stub.ReleaseClaims(pb.ReleaseClaimsRequest(board=board, owner="p", filepaths=["a.go"]))
    told = events(stream, 4)
    assert [event.WhichOneof("change") for event in told] == ["claimed", "phase", "released"]
    assert [event.revision for event in told] == [2, 3, 4]
    assert (told[0].claimed, told[1].phase, told[2].released) == (held, phase, held)
    assert {event.cause for event in told} == {pb.EVENT_CAUSE_CALL}
    assert all(event.HasField("time") for event in told)


def test_a_watch_resumes_without_gap_or_repeat(watch, claim):
    for n in range(20):
        claim(f"{n}.go")
    for after in (0, 7, 19):
        first, stream = watch(after_revision=after)
        assert first.revision == after
        assert [event.revision for event in events(stream, 20)] == list(range(after + 1, 21))


def test_the_events_of_one_call_come_in_one_message(grpc_stub, board, watch):
    _, stream = watch()
    contracts = [pb.Contract(producer="p", kind=1, name=f"T{n}") for n in range(100)]
    grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=contracts))
    message = next(stream)
    assert [event.contract.name for event in message.events] == [c.name for c in contracts]
    assert message.revision == 1


def test_only_the_kinds_that_are_named_are_told(grpc_stub, board, watch, claim):
    _, stream = watch(kinds=[pb.EVENT_KIND_PHASE])
    claim("a.go")
    grpc_stub.SetPhaseState(pb.SetPhaseStateRequest(board=board, phase_id="p", state=1))
    assert [event.phase.phase_id for event in events(stream, 2)] == ["p"]


def test_another_board_than_was_known_is_told_so(grpc_stub, board):
    stream = grpc_stub.Watch(pb.WatchRequest(board=board, board_id="another"), timeout=60)
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    found = refusal_of(caught.value)
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BOARD_REPLACED")
    info = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board
    assert found.metadata == {"board_id": info.board_id}
