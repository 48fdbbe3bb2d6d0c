"""The built-in services beside the board's: health for everyone, reflection for readers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha import reflection, reflection_pb2

from board_server.auth.policy import REFLECTION, Policy
from board_server.errors import BoardError, InvalidArgument, ShuttingDown, Violation
from board_server.rpc.limits import Limiter
from board_server.wire.statuses import status_of

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

TIMEOUT = 5.0
"""Seconds in which the request of a health check must arrive."""

MAX_REQUEST = 2**10
"""Most bytes of such a request; it contains only the name of a service."""


class Shutdown:
    """Ends what the calls of the built-in services wait for when the server shuts down."""

    def __init__(self) -> None:
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def begun(self) -> bool:
        """Whether the server shuts down."""
        return self._begun.done()

    def begin(self) -> None:
        """End every wait, and those that begin later."""
        if not self.begun:
            self._begun.set_result(None)

    async def unless(self, awaited: Awaitable[T], seconds: float | None = None) -> T:
        """Return what is awaited. Raises ShuttingDown, and TimeoutError after `seconds`."""
        waiting = asyncio.ensure_future(awaited)
        both: set[asyncio.Future[Any]] = {waiting, self._begun}
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return await waiting
            raise ShuttingDown if self.begun else TimeoutError
        finally:
            waiting.cancel()

    async def wait(self) -> None:
        """Return when the server shuts down."""
        await asyncio.shield(self._begun)


class HealthServicer:
    """The health service: its services serve until the server shuts down.

    grpc_health's own sends to one client of Watch after the other. One that did not read would
    delay all others, and the shutdown.
    """

    def __init__(self, services: Sequence[str], shutdown: Shutdown) -> None:
        self._services = frozenset(services)
        self._shutdown = shutdown

    async def check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """Return the status of a service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return self._status(request.service)

    async def watch(self, request: HealthCheckRequest, context: Context) -> None:
        """Send the status of a service, now and at the shutdown. Raises ShuttingDown then."""
        await context.write(self._status(request.service))
        await self._shutdown.wait()
        await context.write(self._status(request.service))
        raise ShuttingDown

    def _status(self, service: str) -> HealthCheckResponse:
        if service not in self._services:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        if self._shutdown.begun:
            return HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING)
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)


def health_handler(
    services: Sequence[str], limiter: Limiter, shutdown: Shutdown
) -> grpc.GenericRpcHandler:
    """Make the handler of the health service, which answers every client.

    Its requests must be small and arrive within TIMEOUT seconds. Its calls have their own limit,
    so that clients without a token cannot use up that of the board's calls.
    """

    def answering(method: Callable[[Any, Context], Any]) -> Any:
        async def answer(_: object, context: Context) -> Any:
            try:
                with limiter.builtin_call("health calls", "", context):
                    return await method(await _received(context, shutdown), context)
            except BoardError as error:
                await context.abort(*status_of(error))

        return answer

    servicer = HealthServicer(services, shutdown)
    # To gRPC both take a stream of requests, so that they need not wait for one.
    return grpc.method_handlers_generic_handler(
        health.SERVICE_NAME,
        {
            "Check": grpc.stream_unary_rpc_method_handler(
                answering(servicer.check),
                response_serializer=HealthCheckResponse.SerializeToString,
            ),
            "Watch": grpc.stream_stream_rpc_method_handler(
                answering(servicer.watch),
                response_serializer=HealthCheckResponse.SerializeToString,
            ),
        },
    )


async def _received(context: Context, shutdown: Shutdown) -> HealthCheckRequest:
    """Receive the request of a health check.

    Raises InvalidArgument if it does not come or is not valid, and ShuttingDown.
    """
    data: Any = None
    with suppress(TimeoutError):
        data = await shutdown.unless(context.read(), TIMEOUT)
    if not isinstance(data, bytes):
        raise InvalidArgument([Violation("request", f"did not arrive within {TIMEOUT:g} seconds")])
    if len(data) > MAX_REQUEST:
        what = f"must not be larger than {MAX_REQUEST:,} bytes"
        raise InvalidArgument([Violation("request", what)])
    try:
        return HealthCheckRequest.FromString(data)
    except DecodeError:
        raise InvalidArgument([Violation("request", "is not a HealthCheckRequest")]) from None


def reflection_handler(
    services: list[str], policy: Policy, limiter: Limiter, shutdown: Shutdown
) -> grpc.GenericRpcHandler:
    """Make the handler of the reflection service, for principals that may read."""
    described: Any = reflection.aio.ReflectionServicer(services)

    async def until_shutdown(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        while True:
            try:
                yield await shutdown.unless(anext(requests))
            except StopAsyncIteration:
                return

    async def answer(requests: Any, context: Context) -> AsyncIterator[Any]:
        try:
            metadata = context.invocation_metadata() or ()
            principal = await policy.authorize(REFLECTION, metadata, context)
            with limiter.builtin_call("reflection calls", principal.name, context):
                arriving = until_shutdown(aiter(requests))
                async for reply in described.ServerReflectionInfo(arriving, context):
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
