"""A request must arrive in time; the server does not wait for that of an unknown caller."""

import struct
import threading
from itertools import islice

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from board_client import BoardClient, Credentials
from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.principal import Role
from board_server.rpc import builtin_services, limits, request_timeout
from board_server.rpc import server as server_module
from tests.security.raw import Raw, grpc_message
from tests.support.secured import ANY_PORT, TokenFile, bearer, metadata_of, reason_of, running, stub

HALF = struct.pack(">BI", 0, 100) + bytes(50)
"""The first half of a message."""

INVALID_ARGUMENT = str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
UNAUTHENTICATED = str(grpc.StatusCode.UNAUTHENTICATED.value[0])
HEALTH_CHECK = "/grpc.health.v1.Health/Check"


@pytest.fixture
def server(tmp_path):
    with running(Config(tmp_path / "boards", "b", (ANY_PORT,), max_watches=2)) as server:
        yield server


@pytest.fixture
def tokens(tmp_path):
    return TokenFile(tmp_path / "tokens.toml")


@pytest.fixture
def shown(tokens):
    """The metadata of a caller with the role reader."""
    return dict(bearer(tokens.add("reader", Role.READER)))


@pytest.fixture
def asking(tmp_path, tokens, shown):  # noqa: ARG001  its token must exist when the server starts
    """A server that requires tokens."""
    with running(Config(tmp_path / "boards", "b", (ANY_PORT,), tokens=tokens.path)) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """Set the time for a request to arrive to 0.1 s."""
    monkeypatch.setattr(request_timeout, "TIMEOUT", 0.1)
    monkeypatch.setattr(builtin_services, "TIMEOUT", 0.1)
    monkeypatch.setattr(server_module, "CHECK", 0.05)


@pytest.mark.parametrize("method", ["GetPhaseState", "Watch"])
@pytest.mark.parametrize("begun", [b"", HALF], ids=["nothing", "half"])
@pytest.mark.usefixtures("impatient")
def test_a_server_without_tokens_ends_a_call_whose_request_does_not_arrive(server, method, begun):
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers(method))
        if begun:
            raw.data(stream, begun, end=False)
        found = raw.trailers_of(stream)
    assert found["grpc-status"] == INVALID_ARGUMENT
    assert "did not arrive" in found["grpc-message"]


@pytest.mark.parametrize("method", ["GetPhaseState", "Watch"])
@pytest.mark.parametrize("begun", [b"", HALF], ids=["nothing", "half"])
@pytest.mark.usefixtures("impatient")
def test_a_call_whose_request_does_not_arrive_is_ended(asking, tokens, shown, method, begun):
    with Raw(asking.address) as raw:
        stream = raw.open(raw.headers(method, shown))
        if begun:
            raw.data(stream, begun, end=False)
        found = raw.trailers_of(stream)
    assert found["grpc-status"] == INVALID_ARGUMENT
    assert "did not arrive" in found["grpc-message"]
    credentials = Credentials(token=tokens.secrets["reader"])
    with BoardClient(asking.address, credentials=credentials) as client:
        assert client.get_phase_state("p") == ""


@pytest.mark.parametrize("method", ["GetPhaseState", "Watch"])
@pytest.mark.parametrize("asked", [False, True], ids=["without tokens", "with tokens"])
def test_a_call_without_a_request_message_is_refused_by_its_name(request, shown, method, asked):
    server = request.getfixturevalue("asking" if asked else "server")
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers(method, shown))
        raw.data(stream, b"")
        found = raw.trailers_of(stream)
    assert found["grpc-status"] == INVALID_ARGUMENT
    assert "is missing" in found["grpc-message"]


@pytest.mark.parametrize("asked", [False, True])
def test_a_request_that_arrives_slowly_is_answered(request, shown, asked):
    server = request.getfixturevalue("asking" if asked else "server")
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers("ListBoards", shown if asked else None))
        raw.meet()
        raw.data(stream, grpc_message(b""))
        assert raw.trailers_of(stream)["grpc-status"] == "0"


def test_the_batches_in_transit_of_a_token_are_limited_by_its_bytes(tmp_path, tokens):
    shown = dict(bearer(tokens.add("worker", Role.WORKER)))
    other = dict(bearer(tokens.add("other", Role.WORKER)))
    config = Config(
        tmp_path / "boards",
        "b",
        (ANY_PORT,),
        tokens=tokens.path,
        max_held=2 * 40 * 2**20,
    )
    with running(config) as server, Raw(server.address) as raw:
        begun = [raw.open(raw.headers("PublishContracts", shown)) for _ in range(3)]
        for stream in begun[:2]:
            raw.data(stream, HALF, end=False)
        raw.data(begun[2], grpc_message(b""))  # waits for the two
        of_another = raw.open(raw.headers("PublishContracts", other))
        raw.data(of_another, grpc_message(b""))
        reads = raw.open(raw.headers("GetPhaseState", shown))
        raw.data(reads, grpc_message(b""))
        ended = (stream for stream, found in raw.trailers() if "grpc-status" in found)
        assert set(islice(ended, 2)) == {of_another, reads}
        raw.reset(begun[0])
        assert raw.trailers_of(begun[2])["grpc-status"] == "0"


def test_a_call_without_a_token_is_refused_before_its_request_arrives(asking):
    with Raw(asking.address) as raw:
        stream = raw.open(raw.headers("PublishContracts"))
        raw.data(stream, HALF, end=False)
        assert raw.trailers_of(stream)["grpc-status"] == UNAUTHENTICATED


def test_a_call_that_the_role_forbids_is_refused_before_its_request_arrives(asking, shown):
    with Raw(asking.address) as raw:
        stream = raw.open(raw.headers("PublishContracts", shown))
        denied = str(grpc.StatusCode.PERMISSION_DENIED.value[0])
        assert raw.trailers_of(stream)["grpc-status"] == denied


@pytest.mark.usefixtures("impatient")
def test_a_health_call_whose_request_does_not_arrive_is_ended(server):
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers("", {":path": HEALTH_CHECK}))
        assert raw.trailers_of(stream)["grpc-status"] == INVALID_ARGUMENT


def test_watches_of_health_keep_no_caller_of_the_board_out(tmp_path, monkeypatch):
    monkeypatch.setitem(limits.BUILTIN_LIMITS, "health calls", (3, 100))
    config = Config(tmp_path / "boards", "b", (ANY_PORT,), max_watches=2, max_calls=4)
    with running(config) as server, server.channel() as channel:
        health = HealthStub(channel)
        watches = [health.Watch(HealthCheckRequest()) for _ in range(3)]
        for watch in watches:
            next(watch)
        with pytest.raises(grpc.RpcError) as refused:
            next(health.Watch(HealthCheckRequest()))
        assert reason_of(refused.value) == "LIMIT_EXCEEDED"
        assert metadata_of(refused.value) == {"limit": "health calls", "maximum": "3"}
        going = [stub(channel).Watch(pb.WatchRequest()) for _ in range(2)]
        for watch in going:
            next(watch)


def test_questions_about_the_service_keep_no_caller_of_the_board_out(tmp_path, monkeypatch):
    monkeypatch.setitem(limits.BUILTIN_LIMITS, "reflection calls", (1, 100))
    config = Config(tmp_path / "boards", "b", (ANY_PORT,), max_calls=1)
    with running(config) as server, server.channel() as channel:
        reflection = ServerReflectionStub(channel)
        asked, more = threading.Event(), threading.Event()

        def questions():
            yield ServerReflectionRequest(list_services="")
            asked.set()
            more.wait()

        going = reflection.ServerReflectionInfo(questions())
        next(going)
        with pytest.raises(grpc.RpcError) as refused:
            next(reflection.ServerReflectionInfo(questions()))
        assert metadata_of(refused.value) == {"limit": "reflection calls", "maximum": "1"}
        stub(channel).GetPhaseState(pb.GetPhaseStateRequest(phase_id="p"))
        more.set()
