"""Attacks by unknown clients: the server answers or disconnects them, and serves others.

Its memory stays bounded, and an honest client is not slowed down.
"""

import os
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    WindowUpdateFrame,
)

from board_client import BoardClient, Credentials, Unauthenticated
from board_server.principal import Role
from tests.operations.test_metrics import Samples
from tests.security.raw import Raw, encoded_headers, flood_of, grpc_message
from tests.security.requests import code_of, sample
from tests.support.secured import TokenFile, bearer, program, stub

pytestmark = pytest.mark.alone

MEMORY = 100 * 2**20
"""Bytes of memory that the server may take for an attack, and need not return after it."""

CALLS = 200
"""Calls of an honest client, one after the other, during an attack and after it."""

CALLS_IN_A_FLOOD = 1_000
"""The same during a flood: more, as a flood arrives at once and delays only few calls."""

SLOWER = 5
"""How many times slower than without an attack the p99 of these calls may be."""

QUICK = 0.005
"""Seconds below which a call is quick, on a machine that has other work."""

TRIES = 3
"""Attempts. If the client is slow in each, the cause is the attack and not other work."""

STREAMS = 20_000

SERVED = 1_000
"""Streams that the server may begin to handle, for which other calls may have to wait."""


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    file = TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.toml")
    file.add("honest", Role.READER)
    return file


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def server(tmp_path_factory, tokens, log):
    boards = tmp_path_factory.mktemp("boards")
    with program(boards, "--tokens", tokens.path, "--log-format", "json", log=log) as server:
        yield server


@pytest.fixture
def withstands(server, tokens, log):
    """A function that runs an attack and checks the promises of this module."""
    return promises(server, Credentials(token=tokens.secrets["honest"]), log)


def promises(server, credentials, log):
    def withstands(attack, calls=CALLS, keeps=keeps_its_pace, memory: float = MEMORY):
        before = server.memory()
        with BoardClient(server.address, credentials=credentials, timeout=60) as client:
            assert any(keeps(client, calls, attack) for _ in range(TRIES))
        assert server.process.poll() is None
        assert server.memory() - before < memory
        assert log.read_text() == ""  # strangers cannot fill it

    return withstands


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, tokens, server_pair):
    """A server with TLS, and its log."""
    directory = tmp_path_factory.mktemp("encrypted")
    log = directory / "log"
    files = ("--tls-cert", server_pair.cert, "--tls-key", server_pair.key)
    with program(directory / "boards", "--tokens", tokens.path, *files, log=log) as server:
        yield server, log


@pytest.fixture(params=["plain", "inside TLS"])
def listener(request, tokens, authority):
    """A server, whether it uses TLS, and its `withstands`."""
    if request.param == "plain":
        withstands = request.getfixturevalue("withstands")
        return request.getfixturevalue("server"), False, withstands
    server, log = request.getfixturevalue("encrypted")
    honest = Credentials(ca=authority.ca, token=tokens.secrets["honest"])
    return server, True, promises(server, honest, log)


def keeps_its_pace(client, calls, attack) -> bool:
    quiet = percentile([timed(client) for _ in range(calls)])
    with ThreadPoolExecutor(1) as beside:
        attacking = beside.submit(attack)
        paces = []
        while len(paces) < calls or not attacking.done():
            paces.append(timed(client))
        attacking.result()
    return percentile(paces) <= SLOWER * max(quiet, QUICK)


def timed(client) -> float:
    started = time.perf_counter()
    client.get_phase_state("p")
    return time.perf_counter() - started


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


def test_random_bytes_are_refused(server, withstands):
    def attack():
        for _ in range(50):
            with plain(server) as connection:
                try:
                    connection.sendall(os.urandom(65536))
                except ConnectionError:
                    continue
                assert closes(connection)

    withstands(attack)


def test_an_http_1_request_is_refused(server, withstands):
    def attack():
        for _ in range(50):
            with plain(server) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: board\r\n\r\n")
                assert closes(connection)

    withstands(attack)


def test_many_idle_connections_block_no_call(server, withstands):
    def attack():
        idle = [plain(server) for _ in range(500)]
        with BoardClient(server.address) as client, pytest.raises(Unauthenticated):
            client.list_boards()
        for each in idle:
            each.close()

    withstands(attack)


ASK = DataFrame(1, grpc_message(b""), flags=["END_STREAM"])
TAKE_BACK = RstStreamFrame(1, error_code=8)


@pytest.mark.parametrize(
    "then", [(), (ASK,), (ASK, TAKE_BACK)], ids=["never asks", "asks", "asks and takes it back"]
)
def test_a_flood_of_streams_blocks_no_call(server, withstands, then):
    flood = flood_of(STREAMS, "GetPhaseState", *then)

    def attack():
        before = strangers_served(server)
        with Raw(server.address) as raw, BoardClient(server.address, timeout=60) as honest:
            raw.pour(flood)
            with pytest.raises(Unauthenticated):
                honest.list_boards()
            assert strangers_served(server) - before < SERVED

    withstands(attack, CALLS_IN_A_FLOOD)


def strangers_served(server) -> float:
    """Count the calls that were refused because they had no token."""
    refused = {"method": "GetPhaseState", "code": "UNAUTHENTICATED"}
    return Samples(server.metrics).of("board_rpcs_total", **refused) or 0


EXHAUSTED = str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
UNAUTHENTICATED = str(grpc.StatusCode.UNAUTHENTICATED.value[0])


FRAMES = {
    "WINDOW_UPDATE": WindowUpdateFrame(0, window_increment=1),
    "PRIORITY": PriorityFrame(1, stream_weight=1),
    "CONTINUATION": ContinuationFrame(1),
    "PING": PingFrame(0, bytes(8)),
}
"""Frames without a call."""

CALLS_AGAINST_FRAMES = 300

UNBOUNDED = float("inf")
"""gRPC's read buffer doubles while a client sends faster than it reads (docs/security.md)."""

LONGEST = 0.4
"""Seconds that a call of an honest client may take while such frames arrive without a pause."""


def is_answered_meanwhile(client, calls, attack) -> bool:
    """Make calls during an attack, which ends after them."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        attacking = beside.submit(attack, done)
        try:
            longest = max(timed(client) for _ in range(calls))
        finally:
            done.set()
        attacking.result()
    return longest < LONGEST


@pytest.mark.parametrize("kind", FRAMES)
def test_a_flood_of_frames_blocks_no_call(listener, kind):
    server, tls, withstands = listener
    begun = HeadersFrame(1, encoded_headers("GetPhaseState")).serialize()
    first = begun if kind == "CONTINUATION" else b""
    frames = FRAMES[kind].serialize() * 5_000

    def attack(done):
        while not done.is_set():
            with Raw(server.address, tls=tls) as raw:  # the server may close it
                raw.drown(first + frames)
                while not done.is_set() and raw.drown(frames):
                    pass

    withstands(attack, CALLS_AGAINST_FRAMES, is_answered_meanwhile, UNBOUNDED)


def test_headers_of_a_mebibyte_are_refused(server, withstands):
    def attack():
        for _ in range(10):
            with Raw(server.address) as raw:
                stream = raw.open(raw.headers("GetPhaseState", {"x-large": "x" * 2**20}))
                assert raw.trailers_of(stream)["grpc-status"] == EXHAUSTED

    withstands(attack)


BEGUN = struct.pack(">BI", 0, 65 * 2**20) + bytes(2**20)
"""The first of 65 MiB."""


def test_a_message_of_65_mebibytes_is_refused(server, tokens, withstands):
    shown = dict(bearer(tokens.secrets["honest"]))

    def attack():
        for _ in range(10):
            with Raw(server.address) as raw:
                stream = raw.open(raw.headers("GetPhaseState", shown))
                raw.data(stream, BEGUN, end=False)
                assert raw.trailers_of(stream)["grpc-status"] == EXHAUSTED

    withstands(attack)


def test_an_unauthenticated_call_is_refused_before_its_message_arrives(server, withstands):
    def attack():
        for _ in range(10):
            with Raw(server.address) as raw:
                for _ in range(20):
                    stream = raw.open(raw.headers("SetPhaseState"))
                    assert raw.trailers_of(stream)["grpc-status"] == UNAUTHENTICATED

    withstands(attack)


def bomb(size: int) -> bytes:
    """Many zeros, compressed with gzip."""
    squeeze = zlib.compressobj(wbits=31)
    chunk = bytes(2**20)
    parts = [squeeze.compress(chunk) for _ in range(size // len(chunk))]
    return b"".join(parts) + squeeze.flush()


def test_a_small_compressed_message_that_unpacks_to_a_large_one_is_refused(
    server, tokens, withstands
):
    message = grpc_message(bomb(128 * 2**20), compressed=True)
    assert len(message) < 2**20
    shown = dict(bearer(tokens.secrets["honest"]))

    def attack():
        for _ in range(3):
            with Raw(server.address) as raw:
                stream = raw.open(raw.headers("GetPhaseState", shown | {"grpc-encoding": "gzip"}))
                raw.data(stream, message)
                refused = str(grpc.StatusCode.UNIMPLEMENTED.value[0])
                assert raw.trailers_of(stream)["grpc-status"] == refused

    withstands(attack)


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
def test_malformed_tokens_are_refused(server, shown):
    with Raw(server.address) as raw:
        stream = raw.open(raw.headers("GetPhaseState", {"authorization": shown}))
        raw.data(stream, grpc_message(b""))
        status = raw.trailers_of(stream).get("grpc-status")
    # gRPC refuses an invalid header before the server looks for a token in it.
    assert status in {None, str(grpc.StatusCode.UNAUTHENTICATED.value[0])}
    assert status is not None or not shown.isprintable() or not shown.isascii()


def test_two_authorization_headers_are_refused(server, tokens):
    secret = tokens.secrets["honest"]
    with grpc.insecure_channel(server.address) as channel:
        board = stub(channel)
        both = (*bearer(secret), *bearer(secret))
        request = sample("GetPhaseState", "")
        assert code_of(board, "GetPhaseState", request, both) is grpc.StatusCode.UNAUTHENTICATED
        assert code_of(board, "GetPhaseState", request, bearer(secret)) is grpc.StatusCode.OK
