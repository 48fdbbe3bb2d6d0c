"""Health checking and reflection, which load balancers and tools use."""

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.rpc.service import SERVICE, refusal


@pytest.mark.parametrize("service", ["", "board.v1.BoardService"])
def test_a_running_server_says_that_it_serves(grpc_channel, service):
    stub = health_pb2_grpc.HealthStub(grpc_channel)
    reply = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_the_health_of_another_service_is_unknown(grpc_channel):
    stub = health_pb2_grpc.HealthStub(grpc_channel)
    found = refusal(stub.Check, health_pb2.HealthCheckRequest(service="another.Service"))
    assert found.code == grpc.StatusCode.NOT_FOUND


def test_a_health_check_that_is_no_message_is_refused(grpc_channel):
    check = grpc_channel.unary_unary("/grpc.health.v1.Health/Check")
    found = refusal(check, b"\x0a\xff")
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


@pytest.fixture
def reflect(grpc_channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(grpc_channel)
    return lambda **asked: next(
        stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**asked)]))
    )


def test_reflection_names_the_service(reflect):
    services = {
        service.name for service in reflect(list_services="").list_services_response.service
    }
    assert {"board.v1.BoardService", "grpc.health.v1.Health"} <= services


def test_reflection_describes_every_method(reflect):
    reply = reflect(file_containing_symbol="board.v1.BoardService").file_descriptor_response
    files = [FileDescriptorProto.FromString(data) for data in reply.file_descriptor_proto]
    (service,) = (service for file in files for service in file.service)
    assert [method.name for method in service.method] == [m.name for m in SERVICE.methods]
