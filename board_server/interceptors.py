"""What surrounds every method: who may call it, how often, and what becomes of its errors.

The handlers are wrapped once, when they are registered, which costs a call
nothing but a few more frames; grpc's own interceptors cost a lookup and a task each.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.protobuf import message_factory

from board_client.v1 import board_pb2 as pb
from board_server.access import LEAST, REFLECTION, Access
from board_server.caller import Role
from board_server.current import CURRENT, REQUEST_ID, Call
from board_server.errors import BoardError
from board_server.limits import Limiter
from board_server.malformed import parser
from board_server.metrics import Metrics
from board_server.status import Status, internal, status_of
from board_server.tracing import Traced

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["BoardService"]

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # no generic at run time
Method = Callable[[Any, Context], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all methods share: who may call, how much may go on, and who takes note of it."""

    access: Access
    limiter: Limiter
    metrics: Metrics
    traced: Traced | None = None
    lines: bool = field(default_factory=lambda: logging.getLogger(__name__).isEnabledFor(10))
    """Whether each call gets a line in the log: at debug."""


def intercepted(handlers: Mapping[str, Handler], around: Surroundings) -> grpc.GenericRpcHandler:
    """Wrap each handler of the service, and make them one generic handler."""
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name,
        {name: _wrapped(name, handler, around) for name, handler in handlers.items()},
    )


def guarded_reflection(
    service: str, handlers: Mapping[str, Handler], access: Access
) -> grpc.GenericRpcHandler:
    """Wrap the handlers of the reflection service, for those who may read."""

    def guarded(handler: Any) -> Handler:
        async def answer(requests: Any, context: Context) -> AsyncIterator[Any]:
            try:
                access.admit(REFLECTION, context.invocation_metadata() or (), context)
            except BoardError as error:
                await context.abort(*status_of(error))
            async for reply in handler.stream_stream(requests, context):
                yield reply

        return grpc.stream_stream_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )

    wrapped = {name: guarded(handler) for name, handler in handlers.items()}
    return grpc.method_handlers_generic_handler(service, wrapped)


def _wrapped(name: str, handler: Any, around: Surroundings) -> Handler:
    streams = handler.response_streaming
    make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    method = handler.unary_stream if streams else handler.unary_unary
    guarded = _guarded(name, method, around)
    if around.traced:
        guarded = around.traced(name, guarded)
    # Without a deserializer the request comes as bytes, to be read once its caller is known.
    return make(_answering(name, guarded, around), response_serializer=_to_bytes)


def _to_bytes(reply: Any) -> bytes:
    """Serialize a reply; what many share comes encoded already."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


Metadata = tuple[tuple[str, str | bytes], ...]
Guarded = Callable[[bytes, Metadata, Call, Context], Awaitable[Any]]


def _guarded(name: str, method: Method, around: Surroundings) -> Guarded:
    """Let a call through to its method if its caller, its request and the limits allow it."""
    access, limiter = around.access, around.limiter
    least = LEAST[name]
    changes = least > Role.READER
    parse = parser(message_factory.GetMessageClass(SERVICE.methods_by_name[name].input_type))

    async def call_method(data: bytes, metadata: Metadata, call: Call, context: Context) -> Any:
        caller = call.caller = access.admit(least, metadata, context)
        key = limiter.begin(name, caller.name, context)
        try:
            request = parse(data)
            if caller.bound:
                await access.permit(caller, request)
            reply = await method(request, context)
        finally:
            limiter.end(key)
        if reply is None:
            return None  # a stream has been written already
        written = _to_bytes(reply)
        limiter.reply(len(written), caller.name, context, changed=changes)
        return written

    return call_method


def _answering(name: str, guarded: Guarded, around: Surroundings) -> Method:
    """Turn errors into statuses, and take note of every call before it is answered."""

    async def answer(data: bytes, context: Context) -> Any:
        started = time.perf_counter()
        metadata: Any = context.invocation_metadata()
        call = Call(name, metadata)
        CURRENT.set(call)
        if call.asked_id:
            context.set_trailing_metadata(((REQUEST_ID, call.asked_id),))
        try:
            reply = await guarded(data, metadata, call, context)
        except (asyncio.CancelledError, grpc.aio.InternalError) as gone:
            # The caller has gone, or its time is up; grpc says the latter when we write to it.
            note(started, grpc.StatusCode.CANCELLED, context)
            raise asyncio.CancelledError from gone
        except Exception as error:
            status = _told(name, error)
            note(started, status.code, context)
            named = (REQUEST_ID, call.request_id)
            await context.abort(status.code, status.details, (named, *status.trailing_metadata))
        note(started, grpc.StatusCode.OK, context)
        return reply

    def note(started: float, code: grpc.StatusCode, context: Context) -> None:
        seconds = time.perf_counter() - started
        around.metrics.answered(name, code, seconds)
        if around.lines:
            told = {"code": code.name, "ms": round(seconds * 1000, 3), "peer": context.peer()}
            log.debug("call", extra=told)

    return answer


def _told(name: str, error: Exception) -> Status:
    """Say an error as a status; one that the board has no word for is told to the log."""
    if isinstance(error, BoardError):
        return status_of(error)
    error_id = secrets.token_hex(4)
    told = {"error_id": error_id}
    log.error("%s failed: internal error %s", name, error_id, extra=told, exc_info=error)
    return internal(error_id)
