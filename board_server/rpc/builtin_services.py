"""The standard services beside the board's: health, for everyone, and reflection, for readers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import grpc

from board_server.auth.policy import REFLECTION, Access
from board_server.errors import BoardError, InvalidArgument, Violation
from board_server.rpc.limits import Limiter
from board_server.wire.statuses import status_of

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # no generic at run time

PATIENCE = 5.0
"""Seconds that the few bytes of a question about health may take."""

MAX_QUESTION = 2**10
"""Bytes that such a question may have: the name of a service."""


def for_everyone(
    service: str, handlers: Mapping[str, Handler], limiter: Limiter
) -> grpc.GenericRpcHandler:
    """Wrap the handlers of the health service, which answers strangers too.

    Their requests must come soon, and be small. Their calls have a limit of their own, so that
    they cannot keep the board's callers out.
    """

    def wrapped(handler: Any) -> Handler:
        if handler.response_streaming:
            make, method = grpc.stream_stream_rpc_method_handler, handler.unary_stream
        else:
            make, method = grpc.stream_unary_rpc_method_handler, handler.unary_unary

        async def answer(_: Any, context: Context) -> Any:
            try:
                with limiter.standard("health calls", "", context):
                    return await method(await _question(handler, context), context)
            except BoardError as error:
                await context.abort(*status_of(error))

        return make(answer, None, handler.response_serializer)

    return _generic(service, {name: wrapped(handler) for name, handler in handlers.items()})


async def _question(handler: Any, context: Context) -> Any:
    """Read the request of a call about health. Raises InvalidArgument where none comes."""
    data: Any = None
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            data = await context.read()
    if not isinstance(data, bytes):
        raise InvalidArgument([Violation("request", f"did not come within {PATIENCE:g} seconds")])
    if len(data) > MAX_QUESTION:
        what = f"must not be larger than {MAX_QUESTION:,} bytes"
        raise InvalidArgument([Violation("request", what)])
    return handler.request_deserializer(data)


def for_readers(
    service: str, handlers: Mapping[str, Handler], access: Access, limiter: Limiter
) -> grpc.GenericRpcHandler:
    """Wrap the handlers of the reflection service, for those who may read."""

    def wrapped(handler: Any) -> Handler:
        async def answer(requests: Any, context: Context) -> AsyncIterator[Any]:
            try:
                metadata = context.invocation_metadata() or ()
                caller = await access.admit(REFLECTION, metadata, context)
                with limiter.standard("reflection calls", caller.name, context):
                    async for reply in handler.stream_stream(requests, context):
                        yield reply
            except BoardError as error:
                await context.abort(*status_of(error))

        return grpc.stream_stream_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )

    return _generic(service, {name: wrapped(handler) for name, handler in handlers.items()})


def _generic(service: str, handlers: Mapping[str, Handler]) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(service, dict(handlers))
