"""Logs: as text or JSON, with the request ID of each call, without secrets."""

import json
import subprocess
import sys

import grpc
import pytest

from board_client import BoardClient, Contract, Credentials
from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.principal import Role
from tests.support.secured import ANY_PORT, TokenFile, bearer, program, running, stub

SIGNATURE = "func ThisIsASignatureThatNobodyLogs()"


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def serve(tmp_path, log, *arguments):
    return program(tmp_path / "boards", "--log-format", "json", *arguments, log=log)


def test_a_call_is_one_line_at_debug_with_the_clients_name_for_it(tmp_path, log):
    with (
        serve(tmp_path, log, "--log-level", "debug") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        _, call = stub(channel).GetPhaseState.with_call(
            pb.GetPhaseStateRequest(phase_id="p"), metadata=[("x-request-id", "mine-1")]
        )
        assert dict(call.trailing_metadata())["x-request-id"] == "mine-1"
    (line,) = [line for line in lines(log) if line["event"] == "call"]
    assert line["request_id"] == "mine-1"
    assert line["method"] == "GetPhaseState"
    assert line["code"] == "OK"
    assert line["level"] == "debug"
    assert line["ms"] > 0
    assert line["peer"].startswith("ipv4:127.0.0.1:")


def test_a_call_without_a_request_id_gets_one_that_its_error_carries(tmp_path, log):
    with serve(tmp_path, log, "--log-level", "debug") as server:
        with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as e:
            stub(channel).GetPhaseState(pb.GetPhaseStateRequest())
        result = dict(e.value.trailing_metadata())["x-request-id"]
    (line,) = [line for line in lines(log) if line["event"] == "call"]
    assert line["request_id"] == result
    assert line["code"] == "INVALID_ARGUMENT"


def test_a_token_name_with_control_characters_is_refused(tmp_path, log):
    names = ["x" * 129, "a b", 'a"b', ""]
    with (
        serve(tmp_path, log, "--log-level", "debug") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        request = pb.GetPhaseStateRequest(phase_id="p")
        for name in names:
            stub(channel).GetPhaseState(request, metadata=[("x-request-id", name)])
    result = [line["request_id"] for line in lines(log) if line["event"] == "call"]
    assert len(set(result)) == len(names)
    assert all(result)
    assert not set(result) & set(names)


def test_neither_tokens_nor_signatures_are_logged(tmp_path, log):
    tokens = TokenFile(tmp_path / "tokens.toml")
    secret = tokens.add("worker-token", Role.WORKER)
    arguments = ("--log-level", "debug", "--tokens", tokens.path)
    with serve(tmp_path, log, *arguments) as server:
        with BoardClient(server.address, credentials=Credentials(token=secret)) as client:
            client.publish_contract(Contract("p", "function", "F", signature=SIGNATURE))
        with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError):
            stub(channel).GetPhaseState(pb.GetPhaseStateRequest(), metadata=bearer(secret + "x"))
    text = log.read_text()
    assert '"caller": "worker-token"' in text
    assert secret.rpartition(".")[2] not in text
    assert SIGNATURE not in text


def test_calls_are_logged_at_debug_only(tmp_path, log):
    with serve(tmp_path, log) as server, BoardClient(server.address) as client:
        client.get_phase_state("p")
    assert [line for line in lines(log) if line["event"] == "call"] == []


def test_on_a_terminal_the_log_is_readable_lines(tmp_path, log):
    with (
        program(tmp_path / "boards", "--log-level", "debug", log=log) as server,
        BoardClient(server.address) as client,
    ):
        client.get_phase_state("p")
    (line,) = [line for line in log.read_text().splitlines() if "GetPhaseState" in line]
    assert "code=OK" in line


def test_an_insecure_server_logs_a_warning_at_its_start(tmp_path, log):
    with serve(tmp_path, log, "--listen", "0.0.0.0:0", "--insecure"):
        pass
    warnings = [line["event"] for line in lines(log) if line["level"] == "warning"]
    assert any("not encrypted" in warning for warning in warnings)
    assert any("neither a token nor a certificate" in warning for warning in warnings)


LOGS_AS_GRPC = """
import logging
import grpc
from board_server.telemetry import logs

logs.configure("console", "info")
log = logging.getLogger("grpc._cython.cygrpc")
for error in (grpc.aio.InternalError("nobody is there"), ValueError("of our own")):
    log.error("a call failed", exc_info=error)
"""


def test_a_reply_to_a_cancelled_call_is_not_logged_by_grpc():
    result = subprocess.run(
        [sys.executable, "-c", LOGS_AS_GRPC], capture_output=True, text=True, check=True
    ).stderr
    assert "of our own" in result
    assert "nobody is there" not in result


def test_the_longest_name_fits_into_the_largest_error(tmp_path):
    path, name = "\U0001d11e" * 1024, "n" * 128
    config = Config(tmp_path / "boards", "b", (ANY_PORT,))
    with running(config) as server, server.channel() as channel:
        board = stub(channel)
        board.ClaimFile(pb.ClaimFileRequest(filepath=path, owner="\U0001d11e" * 64))
        for _ in range(10):  # what is a little too large arrives now and then
            with pytest.raises(grpc.RpcError) as error:
                board.ClaimFile(
                    pb.ClaimFileRequest(filepath=path, owner="q"), metadata=[("x-request-id", name)]
                )
            assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS
            assert dict(error.value.trailing_metadata())["x-request-id"] == name
