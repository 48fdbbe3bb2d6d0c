"""The standard services beside the board's: health, for everyone, and reflection, for readers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

import grpc

from board_server.access import REFLECTION, Access
from board_server.errors import BoardError
from board_server.limits import Limiter
from board_server.status import status_of

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # no generic at run time

PATIENCE = 5.0
"""Seconds that the few bytes of a question about health may take."""


def for_everyone(
    service: str, handlers: Mapping[str, Handler], limiter: Limiter
) -> grpc.GenericRpcHandler:
    """Wrap the handlers of the health service, which answers strangers too.

    Their requests must come soon, and their watches are counted as those of the board.
    """

    def wrapped(handler: Any) -> Handler:
        if handler.response_streaming:
            make, method = grpc.stream_stream_rpc_method_handler, _counted(handler, limiter)
        else:
            make, method = grpc.stream_unary_rpc_method_handler, handler.unary_unary

        async def answer(_: Any, context: Context) -> Any:
            try:
                async with asyncio.timeout(PATIENCE):
                    request = await context.read()
            except TimeoutError:
                request = grpc.aio.EOF
            if request is grpc.aio.EOF:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "there came no request")
            return await method(request, context)

        return make(answer, handler.request_deserializer, handler.response_serializer)

    return _generic(service, {name: wrapped(handler) for name, handler in handlers.items()})


def _counted(handler: Any, limiter: Limiter) -> Any:
    async def watch(request: Any, context: Context) -> None:
        try:
            held = limiter.begin("Watch", "", context)
        except BoardError as error:
            await context.abort(*status_of(error))
        try:
            await handler.unary_stream(request, context)
        finally:
            limiter.end(held)

    return watch


def for_readers(
    service: str, handlers: Mapping[str, Handler], access: Access
) -> grpc.GenericRpcHandler:
    """Wrap the handlers of the reflection service, for those who may read."""

    def wrapped(handler: Any) -> Handler:
        async def answer(requests: Any, context: Context) -> AsyncIterator[Any]:
            try:
                await access.admit(REFLECTION, context.invocation_metadata() or (), context)
            except BoardError as error:
                await context.abort(*status_of(error))
            async for reply in handler.stream_stream(requests, context):
                yield reply

        return grpc.stream_stream_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )

    return _generic(service, {name: wrapped(handler) for name, handler in handlers.items()})


def _generic(service: str, handlers: Mapping[str, Handler]) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(service, dict(handlers))
