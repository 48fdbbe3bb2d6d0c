"""The memory that each call can make the server hold is bounded, also against real attacks.

The server is a process of its own with low limits, and what it holds is read from /proc.
"""

import os
from contextlib import ExitStack, suppress
from queue import Queue

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_server.rpc.limits import LARGE
from board_server.wire import decoding
from board_server.wire.methods import BATCH, ROWS, SERVICE
from tests.operations.test_metrics import Samples
from tests.security.raw import Raw
from tests.security.requests import sample
from tests.support.secured import metadata_of, program, reason_of, stub

MIB = 2**20
UNREAD = 16 * MIB
HELD = 32 * MIB

MOST = 3 * (UNREAD + HELD)
"""Bytes of memory that all attacks together may take: the counted bytes, and what gRPC and the
allocator need in addition."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    limits = {
        "--max-unread": UNREAD,
        "--max-held": HELD,
        "--max-request": BATCH,
        "--max-sessions": 50,
    }
    given = [str(each) for pair in limits.items() for each in pair]
    directory = tmp_path_factory.mktemp("boards") / "b"
    with program(directory, *given) as server:
        with grpc.insecure_channel(server.address) as channel:
            for part in range(2):
                contracts = [
                    pb.Contract(producer="p", kind=1, name=f"{part} {n}", signature="x" * MIB)
                    for n in range(4)
                ]
                request = pb.PublishContractsRequest(contracts=contracts)
                stub(channel).PublishContracts(request)
        yield server


@pytest.fixture(scope="module")
def memory_before(server):
    """Resident memory of the server before the first attack, in bytes."""
    return server.memory()


@pytest.fixture(autouse=True)
def bounded(server, memory_before):
    """After each attack, check its bound, and that nothing is held once its callers have gone."""
    yield
    assert server.memory() - memory_before < MOST
    samples = Samples(server.metrics)
    while samples.of("board_held_bytes") or samples.of("board_rpcs_active"):
        samples = Samples(server.metrics)  # the server notices it a little later


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def padded(method: str, size: int) -> bytes:
    """Make a request of this many bytes, most of them in an unknown field."""
    request = sample(method, "").SerializeToString()
    left = size - len(request) - 5  # a tag of two bytes, a length of three
    length = bytes([left & 0x7F | 0x80, left >> 7 & 0x7F | 0x80, left >> 14])
    return request + b"\xa2\x38" + length + os.urandom(8) + bytes(left - 8)


def sent(channel, method: str, data: bytes) -> grpc.RpcError | None:
    """Make a call with these bytes; return its error."""
    call = channel.unary_stream if method in {"Watch", "GetSnapshot"} else channel.unary_unary
    try:
        reply = call(f"/{SERVICE.full_name}/{method}")(data, timeout=30)
        if isinstance(reply, grpc.Call):
            next(reply)
            reply.cancel()
    except grpc.RpcError as error:
        return error
    return None


# Of a batch gRPC refuses what is larger: it is larger than max_request here.
SINGLE = [name for name, row in ROWS.items() if row.largest < BATCH]


@pytest.mark.parametrize("method", SINGLE)
def test_a_request_that_is_larger_than_any_valid_one_is_refused_unread(channel, method):
    refused = sent(channel, method, padded(method, ROWS[method].largest + 1))
    assert reason_of(refused) == "INVALID_ARGUMENT"
    assert metadata_of(refused) == {"field": "request"}


@pytest.mark.parametrize("method", SINGLE)
def test_unknown_fields_are_ignored(channel, method):
    for _ in range(8):
        refused = sent(channel, method, padded(method, ROWS[method].largest))
        assert refused is None or reason_of(refused) in {"SESSION_EXPIRED", "REVISION_MISMATCH"}


@pytest.mark.parametrize("method", ROWS)
def test_a_waiting_request_is_kept_without_its_unknown_fields(method):
    request = sample(method, "")
    parse = decoding.parser(type(request))
    assert parse(padded(method, MIB)).SerializeToString() == request.SerializeToString()


def test_a_batch_of_many_empty_items_is_refused_before_it_is_parsed(channel):
    data = b"\x12\x00" * (2 * MIB)
    refused = sent(channel, "PublishContracts", data)
    assert reason_of(refused) == "INVALID_ARGUMENT"
    assert metadata_of(refused) == {"field": "contracts"}


def test_waits_are_counted_with_their_requests(channel):
    call = channel.unary_unary(f"/{SERVICE.full_name}/WaitFor")
    busy = pb.WaitForRequest(
        conditions=[pb.WaitCondition(phase=pb.PhaseCondition(phase_id="p", states=[5]))]
    )
    filler = padded("ListBoards", MIB // 2)
    data = busy.SerializeToString() + filler
    waits = [call.future(data) for _ in range(100)]
    refused: Queue[grpc.Future] = Queue()
    for wait in waits:
        wait.add_done_callback(refused.put)
    allowed = HELD // MIB  # each is counted twice
    errors = [refused.get().exception() for _ in range(len(waits) - allowed)]
    for wait in waits:
        wait.cancel()
    assert {reason_of(error) for error in errors} == {"LIMIT_EXCEEDED"}
    assert metadata_of(errors[0]) == {"limit": "held bytes", "maximum": str(HELD)}


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("ListContracts", pb.ListContractsRequest()),
        ("GetSnapshot", pb.GetSnapshotRequest()),
        ("Watch", pb.WatchRequest(after_revision=0)),
    ],
)
def test_unread_replies_are_bounded(server, method, request_):
    with ExitStack() as connections:
        for _ in range(3):
            raw = connections.enter_context(Raw(server.address, window=1_000))
            for _ in range(30):
                raw.call(method, request_)
            raw.meet()
        while not LARGE < Samples(server.metrics).of("board_held_bytes") <= UNREAD:
            pass  # a watch reads its first events in a thread of the store


def test_a_session_is_counted_although_its_caller_went_away(server):
    """Callers that cancel at once cannot open more sessions than others."""
    with grpc.insecure_channel(server.address) as channel:
        board = stub(channel)
        for session in board.ListSessions(pb.ListSessionsRequest()).sessions:
            board.CloseSession(pb.CloseSessionRequest(session_id=session.session_id))
        with Raw(server.address) as raw:
            for _ in range(3):
                for _ in range(40):
                    raw.reset(raw.call("OpenSession", sample("OpenSession", "")))
                raw.meet()
        with suppress(grpc.RpcError):
            while True:
                board.OpenSession(sample("OpenSession", ""))
        assert len(board.ListSessions(pb.ListSessionsRequest()).sessions) == 50
        for session in board.ListSessions(pb.ListSessionsRequest()).sessions:
            board.CloseSession(pb.CloseSessionRequest(session_id=session.session_id))


def test_a_retried_call_that_opens_a_session_is_counted_once(channel):
    board = stub(channel)
    for turn in range(60):  # more than `max_sessions`
        named = (("board-request-id", f"again {turn}"),)
        first, again = (
            board.OpenSession(sample("OpenSession", ""), metadata=named).session for _ in range(2)
        )
        assert first.session_id == again.session_id
        board.CloseSession(pb.CloseSessionRequest(session_id=first.session_id))
        board.OpenSession(sample("OpenSession", ""), metadata=named)  # has ended meanwhile


def test_sessions_of_one_caller_are_counted_until_they_end(channel):
    board = stub(channel)
    for session in board.ListSessions(pb.ListSessionsRequest()).sessions:
        board.CloseSession(pb.CloseSessionRequest(session_id=session.session_id))
    opened = [board.OpenSession(sample("OpenSession", "")).session for _ in range(50)]
    with pytest.raises(grpc.RpcError) as refused:
        board.OpenSession(sample("OpenSession", ""))
    assert metadata_of(refused.value) == {"limit": "sessions", "maximum": "50"}
    for session in opened:
        board.CloseSession(pb.CloseSessionRequest(session_id=session.session_id))
    board.OpenSession(sample("OpenSession", ""))
