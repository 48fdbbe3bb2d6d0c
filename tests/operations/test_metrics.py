"""Metrics: read with Prometheus' own parser, after calls whose effect is known."""

import socket
import threading
import urllib.request
from collections import defaultdict
from contextlib import ExitStack, suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from board_client import BoardClient, FileAlreadyClaimed, StateMismatch
from board_server.config.schema import Config
from board_server.telemetry import metrics
from tests.support.secured import ANY_PORT, program, running


class Samples:
    """The samples of one scrape, by name and labels."""

    def __init__(self, url: str) -> None:
        with urllib.request.urlopen(url, timeout=30) as reply:
            text = reply.read().decode()
        self.types = {}
        self._values = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            self.types[family.name] = family.type
            for sample in family.samples:
                self._values[sample.name][frozenset(sample.labels.items())] = sample.value

    def names(self) -> set[str]:
        """The names of all samples."""
        return set(self._values)

    def of(self, name: str, **labels: str) -> float | None:
        """The value of a sample, None if there is none."""
        return self._values[name].get(frozenset(labels.items()))


@pytest.fixture
def server(tmp_path):
    with running(Config(tmp_path / "boards", "b", (ANY_PORT,)), expose=True) as server:
        yield server


@pytest.fixture
def client(server):
    with BoardClient(server.address) as client:
        yield client


@pytest.fixture
def read(server):
    return lambda: Samples(f"http://{server.metrics_address}/metrics")


def test_calls_are_counted_by_method_and_code(client, read):
    for _ in range(7):
        client.get_phase_state("p")
    client.claim_file("a.go", owner="p")
    for _ in range(2):
        with pytest.raises(FileAlreadyClaimed):
            client.claim_file("a.go", owner="q")
    with pytest.raises(StateMismatch):
        client.set_phase_state("p", "done", expected_state="running")
    samples = read()
    assert samples.types["board_rpcs"] == "counter"
    counted = {
        ("GetPhaseState", "OK"): 7,
        ("ClaimFile", "OK"): 1,
        ("ClaimFile", "ALREADY_EXISTS"): 2,
        ("SetPhaseState", "FAILED_PRECONDITION"): 1,
        ("ListPhases", "OK"): None,
    }
    for (method, code), count in counted.items():
        assert samples.of("board_rpcs_total", method=method, code=code) == count


def test_the_duration_of_calls_is_measured_except_for_waits_and_watches(client, read):
    client.get_phase_state("p")
    watch = client.watch()
    watch.close()
    client.get_phase_state("p")
    samples = read()
    assert samples.types["board_rpc_duration_seconds"] == "histogram"
    assert samples.of("board_rpc_duration_seconds_count", method="GetPhaseState") == 2
    assert 0 < samples.of("board_rpc_duration_seconds_sum", method="GetPhaseState") < 60
    assert samples.of("board_rpc_duration_seconds_bucket", method="GetPhaseState", le="+Inf") == 2
    assert samples.of("board_rpc_duration_seconds_count", method="Watch") is None


def test_each_board_has_its_statistics(client, read):
    other = client.with_options(board="other")
    other.open_board()
    with client.session("w") as worker:
        worker.set_phase_state("p", "running", worker="w")
        worker.claim_files(["a.go", "b.go"], owner="p")
        samples = read()
    assert samples.of("board_revision", board="b") == 3
    assert samples.of("board_phases", board="b") == 1
    assert samples.of("board_claims", board="b") == 2
    assert samples.of("board_sessions", board="b") == 1
    assert samples.of("board_contracts", board="b") == 0
    assert samples.of("board_writer_queue", board="b") == 0
    assert samples.of("board_wal_bytes", board="b") > 0
    assert samples.of("board_revision", board="other") == 0
    assert read().of("board_claims", board="b") == 0


def test_commits_and_their_syncs_are_measured(client, read):
    for _ in range(5):
        client.set_phase_state("p", "running")
    samples = read()
    assert samples.of("board_writer_batch_calls_sum", board="b") == 5
    assert samples.of("board_writer_batch_calls_count", board="b") == 5
    assert samples.of("board_writer_sync_seconds_count", board="b") == 5
    assert samples.of("board_writer_sync_seconds_sum", board="b") > 0


def test_a_board_that_was_closed_has_no_metrics(tmp_path):
    config = Config(tmp_path / "boards", "b", (ANY_PORT,), max_boards=2)
    with running(config, expose=True) as server:
        for board in ("one", "two"):  # the first is evicted for the second
            with BoardClient(server.address, board) as client:
                client.open_board()
                client.claim_file("a.go", owner="p")
        samples = Samples(f"http://{server.metrics_address}/metrics")
    for name in ("board_revision", "board_writer_sync_seconds_count"):
        assert samples.of(name, board="one") is None
        assert samples.of(name, board="two") == 1


def test_watchers_and_waiters_are_notified(client, read):
    watch = client.watch()
    samples = read()
    assert samples.of("board_watchers", board="b") == 1
    assert samples.of("board_revisions_behind", board="b") == 0
    assert samples.of("board_bytes_behind", board="b") == 0
    assert samples.of("board_waiters", board="b") == 0
    assert samples.of("board_rpcs_active") == 1
    watch.close()
    while read().of("board_watchers", board="b"):
        pass  # the server notices it later


def test_the_metrics_describe_the_server_process(read):
    samples = read()
    assert samples.of("process_resident_memory_bytes") > 10**6
    assert samples.of("process_open_fds") > 0


def test_metrics_can_be_read_while_calls_run(client, read):
    failed = []

    def write():
        try:
            for _ in range(100):
                client.set_phase_state("p", "running")
        except Exception as error:
            failed.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    revisions = [read().of("board_revision", board="b") for _ in range(20)]
    for writer in writers:
        writer.join()
    assert failed == []
    assert revisions == sorted(revisions)
    assert read().of("board_revision", board="b") == 400


def connected(server):
    host, _, port = server.metrics_address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_idle_connections_do_not_block_the_metrics(server, read):
    with ExitStack() as silent:
        all_of_them = [
            silent.enter_context(connected(server)) for _ in range(metrics.MAX_READERS + 5)
        ]
        assert read().of("board_revision", board="b") == 0
        for connection in all_of_them[:5]:  # the oldest
            assert connection.recv(1) == b""


def test_readers_that_wait_for_a_busy_board_delay_no_other_board(server, monkeypatch):
    monkeypatch.setattr(metrics, "SCRAPE_TIMEOUT", 60)
    done = threading.Event()
    (board,) = server.store._registry.open_boards()
    board._scans.submit(done.wait)  # a read of many rows
    with ExitStack() as ending:
        readers = [ending.enter_context(connected(server)) for _ in range(metrics.MAX_READERS)]
        ending.callback(done.set)
        for reader in readers:
            reader.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        for number in range(10):
            with BoardClient(server.address, f"another-{number}", timeout=20) as another:
                another.open_board()
        done.set()
        assert {reader.recv(12) for reader in readers} == {b"HTTP/1.1 200"}


def test_a_connection_that_says_nothing_is_closed(server, monkeypatch):
    monkeypatch.setattr(metrics, "IO_TIMEOUT", 0.1)
    with connected(server) as silent:
        assert silent.recv(1) == b""


def test_a_client_of_the_metrics_that_sends_too_much_is_disconnected(server):
    with connected(server) as large, suppress(ConnectionError):
        large.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 2**20)
        assert large.recv(1) == b""


def test_another_method_than_get_is_refused_for_the_metrics(server):
    with connected(server) as other:
        other.sendall(b"POST /metrics HTTP/1.1\r\nHost: board\r\n\r\n")
        assert other.recv(100).startswith(b"HTTP/1.1 405 ")


def test_the_metrics_are_served_at_the_announced_address(tmp_path):
    with program(tmp_path / "boards") as server:
        assert Samples(server.metrics).of("board_revision", board="boards") == 0
