"""A request has to come, and a stranger's is not even waited for."""

import struct

import grpc
import pytest

from board_client import BoardClient, Credentials
from board_server import arrivals, standard
from board_server import server as server_module
from board_server.caller import Role
from board_server.config import Config
from tests.secured import ANY_PORT, TokenFile, bearer, running
from tests.security.raw import Raw, grpc_message

HALF = struct.pack(">BI", 0, 100) + bytes(50)
"""The first half of a message."""

INVALID_ARGUMENT = str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
UNAUTHENTICATED = str(grpc.StatusCode.UNAUTHENTICATED.value[0])
CHECK = "/grpc.health.v1.Health/Check"


@pytest.fixture
def server(tmp_path):
    with running(Config(tmp_path / "boards", "b", (ANY_PORT,), max_watches=2)) as server:
        yield server


@pytest.fixture
def tokens(tmp_path):
    return TokenFile(tmp_path / "tokens.toml")


@pytest.fixture
def shown(tokens):
    """What somebody shows who may read."""
    return dict(bearer(tokens.add("reader", Role.READER)))


@pytest.fixture
def asking(tmp_path, tokens, shown):  # noqa: ARG001  its token is there from the beginning
    """A server that asks its callers who they are."""
    with running(Config(tmp_path / "boards", "b", (ANY_PORT,), tokens=tokens.path)) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """Wait for no request longer than a moment."""
    monkeypatch.setattr(arrivals, "PATIENCE", 0.1)
    monkeypatch.setattr(standard, "PATIENCE", 0.1)
    monkeypatch.setattr(server_module, "LOOK", 0.05)


@pytest.mark.parametrize("method", ["GetPhaseState", "Watch"])
@pytest.mark.parametrize("begun", [b"", HALF], ids=["nothing", "half"])
@pytest.mark.usefixtures("impatient")
def test_a_request_that_does_not_come_is_given_up(asking, tokens, shown, method, begun):
    with Raw(asking.address) as raw:
        stream = raw.open(raw.headers(method, shown))
        if begun:
            raw.data(stream, begun, end=False)
        told = raw.trailers_of(stream)
    assert told["grpc-status"] == INVALID_ARGUMENT
    assert "did not come" in told["grpc-message"]
    credentials = Credentials(token=tokens.secrets["reader"])
    with BoardClient(asking.address, credentials=credentials) as client:
        assert client.get_phase_state("p") == ""


@pytest.mark.parametrize("method", ["GetPhaseState", "Watch"])
def test_a_call_without_a_request_is_told_so(asking, shown, method):
    with Raw(asking.address) as raw:
        stream = raw.open(raw.headers(method, shown))
        raw.data(stream, b"")
        told = raw.trailers_of(stream)
    assert told["grpc-status"] == INVALID_ARGUMENT
    assert "is missing" in told["grpc-message"]


@pytest.mark.parametrize("asked", [False, True])
def test_a_request_that_takes_its_time_is_answered(request, shown, asked):
    server = request.getfixturevalue("asking" if asked else "server")
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers("ListBoards", shown if asked else None))
        raw.meet()
        raw.data(stream, grpc_message(b""))
        assert raw.trailers_of(stream)["grpc-status"] == "0"


def test_who_has_no_token_is_refused_before_the_request_has_come(asking):
    with Raw(asking.address) as raw:
        stream = raw.open(raw.headers("PublishContracts"))
        raw.data(stream, HALF, end=False)
        assert raw.trailers_of(stream)["grpc-status"] == UNAUTHENTICATED


def test_who_may_not_call_a_method_is_refused_before_the_request_has_come(asking, shown):
    with Raw(asking.address) as raw:
        stream = raw.open(raw.headers("PublishContracts", shown))
        denied = str(grpc.StatusCode.PERMISSION_DENIED.value[0])
        assert raw.trailers_of(stream)["grpc-status"] == denied


@pytest.mark.usefixtures("impatient")
def test_a_question_about_health_that_does_not_come_is_given_up(server):
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers("", {":path": CHECK}))
        assert raw.trailers_of(stream)["grpc-status"] == INVALID_ARGUMENT


def test_watches_of_health_are_counted_as_those_of_a_board(server):
    watch = {":path": "/grpc.health.v1.Health/Watch"}
    with Raw(server.address) as raw:
        for _ in range(3):
            stream = raw.open(raw.headers("", watch))
            raw.data(stream, grpc_message(b""))
        exhausted = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
        assert raw.trailers_of(stream)["grpc-status"] == exhausted
