"""Both gRPC engines serve, watch and drain."""

import os
import signal
import subprocess
import sys

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.announcement import address_in
from board_server.config import grpc_engine
from board_server.config.grpc_engine import Engine


@pytest.fixture(params=[*Engine])
def server(request, tmp_path):
    address = f"unix:{tmp_path}/socket"
    command = [sys.executable, "-m", "board_server", str(tmp_path / "boards")]
    other = "127.0.0.1:0" if request.param is Engine.DEFAULT else f"unix:{tmp_path}/other"
    command += ["--listen", address, "--listen", other, "--engine", request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        addresses = [address_in(process.stdout.readline()) for _ in range(2)]
        yield process, addresses
        if process.poll() is None:
            process.kill()


def test_it_serves_on_all_its_addresses(server):
    _, addresses = server
    for address in addresses:
        with grpc.insecure_channel(address) as channel:
            stub = BoardServiceStub(channel)
            written = stub.SetPhaseState(
                pb.SetPhaseStateRequest(phase_id=address[-9:], state=pb.PHASE_STATE_RUNNING)
            )
            read = stub.GetPhaseState(pb.GetPhaseStateRequest(phase_id=address[-9:]))
            assert read.phase == written.phase


def test_a_watch_gets_its_events_and_ends_when_the_server_drains(server):
    process, (address, _) = server
    with grpc.insecure_channel(address) as channel:
        stub = BoardServiceStub(channel)
        stream = stub.Watch(pb.WatchRequest())
        next(stream)
        stub.SetPhaseState(pb.SetPhaseStateRequest(phase_id="p", state=pb.PHASE_STATE_RUNNING))
        assert next(stream).events[0].phase.phase_id == "p"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    assert process.wait(timeout=30) == 0


def test_a_grpc_experiments_variable_that_is_set_is_kept(monkeypatch):
    monkeypatch.setenv("GRPC_EXPERIMENTS", "chosen_by_the_user")
    grpc_engine.choose(Engine.POLLER)
    assert os.environ["GRPC_EXPERIMENTS"] == "chosen_by_the_user"


def test_an_untested_version_of_grpc_keeps_its_default_engine(monkeypatch):
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    monkeypatch.setattr(grpc_engine, "version", lambda _: "9.99.0")
    grpc_engine.choose(Engine.POLLER)
    assert "GRPC_EXPERIMENTS" not in os.environ


def test_grpc_is_not_imported_before_its_engine_is_chosen():
    look = "import board_server.__main__, sys; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
