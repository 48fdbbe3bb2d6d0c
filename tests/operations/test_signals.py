"""Signals: which of them shut the server down, and how."""

import signal
import subprocess
import sys

import grpc
import pytest

from board_client import BoardClient
from board_client.v1 import board_pb2 as pb
from board_server.announcement import address_in
from tests.support.secured import reason_of, stub
from tests.support.servers import ANY_PORT, server_process


def test_sighup_stops_the_server_as_sigterm_does(tmp_path):
    with (
        server_process(tmp_path / "boards") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        watch = stub(channel).Watch(pb.WatchRequest(), timeout=30)
        next(watch)  # it is there
        server.process.send_signal(signal.SIGHUP)
        with pytest.raises(grpc.RpcError) as ended:
            for _ in watch:
                pass
        assert reason_of(ended.value) == "SHUTTING_DOWN"
        assert server.process.wait(timeout=30) == 0


def test_a_server_whose_sighup_is_ignored_outlives_its_terminal(tmp_path):
    command = [sys.executable, "-m", "board_server", tmp_path / "boards", "--listen", ANY_PORT]
    with subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = address_in(process.stdout.readline())
            process.send_signal(signal.SIGHUP)
            with BoardClient(address) as client:
                for number in range(20):
                    client.set_phase_state(f"p{number}", "running")
        finally:
            process.terminate()
        assert process.wait(timeout=30) == 0
