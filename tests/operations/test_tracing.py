"""If the standard OTEL_* variables enable it, each call is a span in the client's trace."""

import http.server
import os
import subprocess
import sys
import threading

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.telemetry.tracing import tracing
from tests.support.secured import ANY_PORT, TokenFile, bearer, program, running, stub

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector():
    """A collector on this machine: its address, and the spans that it receives."""
    spans = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()
        thread.join()


def test_a_call_is_a_span_of_the_callers_trace(tmp_path, collector, monkeypatch):
    endpoint, spans = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with program(tmp_path / "boards") as server, grpc.insecure_channel(server.address) as channel:
        parent = [("traceparent", f"00-{TRACE}-{PARENT}-01")]
        stub(channel).GetPhaseState(pb.GetPhaseStateRequest(phase_id="p"), metadata=parent)
        with pytest.raises(grpc.RpcError):
            stub(channel).GetPhaseState(pb.GetPhaseStateRequest())
    good, bad = spans  # exported at the latest when the server ends
    assert good.name == "board.v1.BoardService/GetPhaseState"
    assert (good.trace_id.hex(), good.parent_span_id.hex()) == (TRACE, PARENT)
    codes = [
        attribute.value.int_value
        for span in (good, bad)
        for attribute in span.attributes
        if attribute.key == "rpc.grpc.status_code"
    ]
    assert codes == [0, grpc.StatusCode.INVALID_ARGUMENT.value[0]]
    assert bad.trace_id != good.trace_id


def test_a_call_of_an_unauthenticated_caller_is_not_traced(tmp_path, collector, monkeypatch):
    """Otherwise any client could have all its calls recorded."""
    endpoint, spans = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    tokens = TokenFile(tmp_path / "tokens.toml")
    config = Config(tmp_path / "boards", listen=(ANY_PORT,), tokens=tokens.path)
    shown = [(), bearer("board.reader.wrong"), bearer(tokens.add("reader"))]
    parent = ("traceparent", f"00-{TRACE}-{PARENT}-01")
    with (
        tracing() as traced,
        running(config, traced=traced) as server,
        server.channel() as channel,
    ):
        for number, metadata in enumerate(shown):
            question = pb.GetPhaseStateRequest(phase_id=f"p{number}")
            try:
                stub(channel).GetPhaseState(question, metadata=[*metadata, parent])
            except grpc.RpcError as error:
                answered = error.code()
            else:
                answered = grpc.StatusCode.OK
            expected = grpc.StatusCode.OK if number == 2 else grpc.StatusCode.UNAUTHENTICATED
            assert answered is expected
    (span,) = spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}]
)
def test_without_tracing_no_span_is_made(tmp_path, collector, monkeypatch, variables):
    endpoint, spans = collector
    if variables:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with program(tmp_path / "boards") as server, grpc.insecure_channel(server.address) as channel:
        stub(channel).GetPhaseState(pb.GetPhaseStateRequest(phase_id="p"))
    assert spans == []


def test_an_exporter_that_is_not_installed_stops_the_start(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "board_server", tmp_path / "boards", "--listen", "127.0.0.1:0"],
        env=os.environ | {"OTEL_TRACES_EXPORTER": "carrier-pigeon"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "carrier-pigeon" in result.stderr
    assert result.stderr.count("\n") == 1
