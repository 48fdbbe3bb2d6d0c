"""The built-in services beside the board's: health for everyone, reflection for readers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from board_server.auth.policy import REFLECTION, Policy
from board_server.errors import BoardError, InvalidArgument, Violation
from board_server.rpc.limits import Limiter
from board_server.wire.statuses import status_of

Context = grpc.aio.ServicerContext[Any, Any]

PATIENCE = 5.0
"""Seconds in which the request of a health check must arrive."""

MAX_REQUEST = 2**10
"""Bytes that such a request may have; it is the name of a service."""


def health_handler(checks: health.aio.HealthServicer, limiter: Limiter) -> grpc.GenericRpcHandler:
    """Make the handler of the health service, which answers every client.

    Its requests must come soon and be small. Its calls have a limit of their own, so that clients
    without a token cannot use up that of the board's calls.
    """

    def answering(method: Callable[[Any, Context], Any]) -> Any:
        async def answer(_: object, context: Context) -> Any:
            try:
                with limiter.standard("health calls", "", context):
                    return await method(await _received(context), context)
            except BoardError as error:
                await context.abort(*status_of(error))

        return answer

    # To gRPC both take a stream of requests, so that they need not wait for one.
    return grpc.method_handlers_generic_handler(
        health.SERVICE_NAME,
        {
            "Check": grpc.stream_unary_rpc_method_handler(
                answering(checks.Check),
                response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
            ),
            "Watch": grpc.stream_stream_rpc_method_handler(
                answering(checks.Watch),
                response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
            ),
        },
    )


async def _received(context: Context) -> health_pb2.HealthCheckRequest:
    """Receive the request of a health check. Raises InvalidArgument if it does not come."""
    data: Any = None
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            data = await context.read()
    if not isinstance(data, bytes):
        raise InvalidArgument([Violation("request", f"did not come within {PATIENCE:g} seconds")])
    if len(data) > MAX_REQUEST:
        what = f"must not be larger than {MAX_REQUEST:,} bytes"
        raise InvalidArgument([Violation("request", what)])
    return health_pb2.HealthCheckRequest.FromString(data)


def reflection_handler(
    services: list[str], policy: Policy, limiter: Limiter
) -> grpc.GenericRpcHandler:
    """Make the handler of the reflection service, for principals that may read."""
    described: Any = reflection.aio.ReflectionServicer(services)

    async def answer(requests: Any, context: Context) -> AsyncIterator[Any]:
        try:
            metadata = context.invocation_metadata() or ()
            principal = await policy.authorize(REFLECTION, metadata, context)
            with limiter.standard("reflection calls", principal.name, context):
                async for reply in described.ServerReflectionInfo(requests, context):
                    yield reply
        except BoardError as error:
            await context.abort(*status_of(error))

    answering: Any = answer
    handler = grpc.stream_stream_rpc_method_handler(
        answering,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(
        reflection.SERVICE_NAME, {"ServerReflectionInfo": handler}
    )
