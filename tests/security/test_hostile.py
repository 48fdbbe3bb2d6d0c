"""What strangers may throw at a port: the server answers or closes, and serves on.

Its memory stays bounded, and an honest client beside keeps its pace.
"""

import os
import socket
import struct
import threading
import time
import zlib
from contextlib import contextmanager

import grpc
import pytest

from board_client import BoardClient, Credentials
from board_server.caller import Role
from tests.secured import TokenFile, bearer, program, stub
from tests.security.raw import Raw, grpc_message
from tests.security.requests import code_of, sample

MEMORY = 300 * 2**20
"""Bytes that an attack may make the server take, and keep for the next."""

SLOWER = 5
"""How much slower an honest client may be under attack than in quiet."""

STREAMS, BURST = 3_000, 100
"""To accept a stream costs a tenth of a millisecond, which nobody else gets meanwhile: more
at once would be a fair share of the server's time, and its share is not what is tested."""

LEAST_PACE = 0.05
"""Seconds below which a call is quick, on a machine that has other work too."""


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    file = TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.toml")
    file.add("honest", Role.READER)
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory, tokens):
    with program(tmp_path_factory.mktemp("boards"), "--tokens", tokens.path) as server:
        yield server


@pytest.fixture
def bounded(server, tokens):
    """Hold an attack, in a `with` block, to the promises of this module."""

    @contextmanager
    def hold():
        before = server.memory()
        credentials = Credentials(token=tokens.secrets["honest"])
        with BoardClient(server.address, credentials=credentials) as client:
            quiet = slowest(client, 100)
            over = threading.Event()
            paces: list[float] = []

            def keep_calling():
                while not over.is_set() or len(paces) < 100:
                    paces.append(timed(client))

            honest = threading.Thread(target=keep_calling)
            honest.start()
            try:
                yield
            finally:
                over.set()
                honest.join()
            assert percentile(paces) <= SLOWER * max(quiet, LEAST_PACE)
        assert server.process.poll() is None
        assert server.memory() - before < MEMORY

    return hold


def timed(client) -> float:
    started = time.perf_counter()
    client.get_phase_state("p")
    return time.perf_counter() - started


def slowest(client, calls) -> float:
    return percentile([timed(client) for _ in range(calls)])


def percentile(values) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def plain(server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def closes(connection) -> bool:
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_random_bytes(server, bounded):
    with bounded():
        for _ in range(50):
            with plain(server) as connection:
                try:
                    connection.sendall(os.urandom(65536))
                except ConnectionError:
                    continue
                assert closes(connection)


def test_http_1(server, bounded):
    with bounded():
        for _ in range(50):
            with plain(server) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: board\r\n\r\n")
                assert closes(connection)


def test_connections_that_say_nothing(server, bounded):
    with bounded():
        idle = [plain(server) for _ in range(500)]
        with BoardClient(server.address) as client, pytest.raises(Exception, match="token"):
            client.list_boards()
        for each in idle:
            each.close()


def test_a_flood_of_streams_that_never_ask(server, bounded):
    with bounded(), Raw(server.address) as raw:
        headers = raw.headers("GetPhaseState")
        for number in range(STREAMS):
            raw.open(headers)
            if number % BURST == 0:
                raw.meet()


def test_a_flood_of_streams_that_are_taken_back(server, bounded):
    with bounded(), Raw(server.address) as raw:
        headers = raw.headers("GetPhaseState")
        try:
            for number in range(STREAMS):
                raw.reset(raw.open(headers))
                if number % BURST == 0:
                    raw.meet()
        except ConnectionError:
            pass  # the server has had enough


EXHAUSTED = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])


def test_headers_of_a_mebibyte(server, bounded):
    with bounded():
        for _ in range(10):
            with Raw(server.address) as raw:
                stream = raw.open(raw.headers("GetPhaseState", {"x-large": "x" * 2**20}))
                assert raw.trailers_of(stream)["grpc-status"] == EXHAUSTED


def test_a_message_of_65_mebibytes(server, bounded):
    begun = struct.pack(">BI", 0, 65 * 2**20) + bytes(2**20)
    with bounded():
        for _ in range(10):
            with Raw(server.address) as raw:
                stream = raw.open(raw.headers("SetPhaseState"))
                raw.data(stream, begun, end=False)
                assert raw.trailers_of(stream)["grpc-status"] == EXHAUSTED


def bomb(size: int) -> bytes:
    """So many zeros, compressed as gzip does."""
    squeeze = zlib.compressobj(wbits=31)
    chunk = bytes(2**20)
    parts = [squeeze.compress(chunk) for _ in range(size // len(chunk))]
    return b"".join(parts) + squeeze.flush()


def test_a_small_message_that_unpacks_to_a_large_one(server, bounded):
    message = grpc_message(bomb(512 * 2**20), compressed=True)
    assert len(message) < 2**20
    with bounded():
        for _ in range(3):
            with Raw(server.address) as raw:
                stream = raw.open(raw.headers("GetPhaseState", {"grpc-encoding": "gzip"}))
                raw.data(stream, message)
                refused = str(grpc.StatusCode.UNIMPLEMENTED.value[0])
                assert raw.trailers_of(stream)["grpc-status"] == refused


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer board.honest.",
        "Bearer board.honest." + "A" * 43,
        "Bearer " + "A" * 7000,
        "Basic Ym9hcmQ6aG9uZXN0",
        "bearer board.honest.\x7f",
        "Bearer bo\xe4rd",
    ],
)
def test_tokens_that_are_none(server, shown):
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers("GetPhaseState", {"authorization": shown}))
        raw.data(stream, grpc_message(b""))
        status = raw.trailers_of(stream).get("grpc-status")
    # What is no valid header is refused before anyone looks for a token in it.
    assert status in {None, str(grpc.StatusCode.UNAUTHENTICATED.value[0])}
    assert status is not None or not shown.isprintable() or not shown.isascii()


def test_two_tokens_at_once_are_none(server, tokens):
    secret = tokens.secrets["honest"]
    with grpc.insecure_channel(server.address) as channel:
        board = stub(channel)
        both = (*bearer(secret), *bearer(secret))
        request = sample("GetPhaseState", "")
        assert code_of(board, "GetPhaseState", request, both) is grpc.StatusCode.UNAUTHENTICATED
        assert code_of(board, "GetPhaseState", request, bearer(secret)) is grpc.StatusCode.OK
