"""At shutdown the server ends calls that have changed nothing, and waits for none of them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from board_server.config.schema import Config
from tests.security.raw import Raw, grpc_message
from tests.support.secured import ANY_PORT, program, reason_of, running

UNAVAILABLE = str(grpc.StatusCode.UNAVAILABLE.value[0])
HALF = grpc_message(bytes(100))[:50]
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"


@pytest.fixture
def serve(tmp_path):
    return lambda: running(Config(tmp_path / "boards", "b", (ANY_PORT,), grace=1))


@pytest.mark.parametrize("method", ["GetPhaseState", "PublishContracts", "Watch"])
@pytest.mark.parametrize("begun", [b"", HALF], ids=["nothing", "half"])
def test_a_call_whose_request_has_not_arrived_is_ended(serve, method, begun):
    with ThreadPoolExecutor(1) as beside, ExitStack() as stopping:
        server = stopping.enter_context(serve())
        with Raw(server.address) as raw:
            stream = raw.open(raw.headers(method))
            if begun:
                raw.data(stream, begun, end=False)
            while not server.metrics.registry.get_sample_value("board_rpcs_active"):
                pass
            ended = beside.submit(trailers_and_close, raw, stream)
            stopping.close()
            found = ended.result()
    assert found["grpc-status"] == UNAVAILABLE
    assert "shutting down" in found["grpc-message"]


def trailers_and_close(raw, stream):
    found = raw.trailers_of(stream)
    raw.socket.close()  # otherwise the server waits for answers to its pings
    return found


@pytest.mark.parametrize(
    ("service", "statuses"),
    [
        ("", [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]),
        ("another.Service", [HealthCheckResponse.SERVICE_UNKNOWN] * 2),
    ],
)
def test_a_watch_of_health_hears_of_the_shutdown_and_ends(serve, service, statuses):
    with ExitStack() as stopping:
        server = stopping.enter_context(serve())
        with server.channel() as channel:
            watch = HealthStub(channel).Watch(HealthCheckRequest(service=service))
            assert next(watch).status == statuses[0]
            stopping.close()
            assert next(watch).status == statuses[1]
            with pytest.raises(grpc.RpcError) as ended:
                next(watch)
    assert reason_of(ended.value) == "SHUTTING_DOWN"


def test_a_stream_of_reflection_ends_although_its_client_may_ask_more(serve):
    more = threading.Event()

    def questions():
        yield ServerReflectionRequest(list_services="")
        more.wait()

    with ExitStack() as stopping:
        server = stopping.enter_context(serve())
        with server.channel() as channel:
            replies = ServerReflectionStub(channel).ServerReflectionInfo(questions())
            next(replies)
            stopping.close()
            with pytest.raises(grpc.RpcError) as ended:
                next(replies)
            more.set()
    assert reason_of(ended.value) == "SHUTTING_DOWN"


def test_a_watch_of_health_that_nobody_reads_does_not_keep_the_server_from_stopping(tmp_path):
    with (
        program(tmp_path / "boards", "--grace", "1") as server,
        Raw(server.address, window=0) as raw,
    ):
        stream = raw.open(raw.headers("", {":path": HEALTH_WATCH}))
        raw.data(stream, grpc_message(HealthCheckRequest().SerializeToString()))
        next(raw.trailers())  # the server is sending its first message
        server.process.terminate()
        assert server.process.wait(timeout=15) == 0
