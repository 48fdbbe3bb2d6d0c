"""What surrounds every method: who may call it, how often, and what becomes of its errors.

The handlers are wrapped once, when they are registered, which costs a call
nothing but a few more frames; grpc's own interceptors cost a lookup and a task each.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import grpc

from board_server.auth.policy import Access
from board_server.call_context import CURRENT, REQUEST_ID, Call
from board_server.errors import BoardError
from board_server.rpc.limits import Limiter, refuse_larger
from board_server.rpc.request_timeout import Arrivals
from board_server.rpc.revocation import Lasting
from board_server.telemetry.metrics import Metrics
from board_server.telemetry.tracing import Traced
from board_server.wire.decoding import parser
from board_server.wire.methods import METHODS, SERVICE
from board_server.wire.statuses import Status, internal, status_of

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # no generic at run time
Method = Callable[[Any, Context], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all methods share: who may call, how much may go on, and who takes note of it."""

    access: Access
    limiter: Limiter
    arrivals: Arrivals
    lasting: Lasting
    metrics: Metrics
    traced: Traced | None = None
    lines: bool = field(default_factory=lambda: log.isEnabledFor(logging.DEBUG))
    """Whether each call gets a line in the log."""


def intercepted(handlers: Mapping[str, Handler], around: Surroundings) -> grpc.GenericRpcHandler:
    """Wrap each handler of the service, and make them one generic handler."""
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name,
        {name: _wrapped(name, handler, around) for name, handler in handlers.items()},
    )


def _wrapped(name: str, handler: Any, around: Surroundings) -> Handler:
    """Wrap a handler; where callers must be known first, its request is read after that."""
    streams = handler.response_streaming
    make = _READ_LATER[streams] if around.access.asks else _READ_FIRST[streams]
    method = handler.unary_stream if streams else handler.unary_unary
    admitted = _admitted(name, method, around)
    if around.traced:
        # Callers are known by then: a stranger cannot have its calls traced, nor join a trace.
        admitted = around.traced(name, admitted)
    guarded = _guarded(name, admitted, around)
    return make(_answering(name, guarded, around), response_serializer=_to_bytes)


# By whether the replies are a stream. Without a deserializer requests come as bytes.
_READ_FIRST = (grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler)
# To grpc these take a stream of requests, which costs a call some 5 % of its time.
_READ_LATER = (grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler)


def _to_bytes(reply: Any) -> bytes:
    """Serialize a reply; what many share comes encoded already."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


Guarded = Callable[[Call, list[Any], Context], Awaitable[Any]]
"""Answers a call; the list holds the bytes of its request, unless they are read later."""


def _guarded(name: str, admitted: Guarded, around: Surroundings) -> Guarded:
    """Let a call through if its caller's role allows it."""
    access, least = around.access, METHODS[name].row.role

    async def call_admitted(call: Call, received: list[Any], context: Context) -> Any:
        call.caller = await access.admit(least, call.metadata, context)
        return await admitted(call, received, context)

    return call_admitted


def _admitted(name: str, method: Method, around: Surroundings) -> Guarded:
    """Let a known caller's call through to its method if its request and the limits allow it."""
    access, limiter, arrivals = around.access, around.limiter, around.arrivals
    reads = access.asks
    about = METHODS[name]
    parse = parser(about.request)
    if about.row.long_running:
        method = around.lasting.kept(about.row.role, _keeping_open(method, around))

    async def call_method(call: Call, received: list[Any], context: Context) -> Any:
        caller = call.caller
        held = call.holding = limiter.begin(name, caller.name, context)
        try:
            if reads:
                received.append(await arrivals.request(call, context))
            size = len(received[0])
            refuse_larger(name, size)
            held.hold(2 * size)  # as it came, and parsed
            if about.keyed:
                call.data = received[0]
            request = parse(received.pop())
            if caller.bound:
                await access.permit(caller, request)
            reply = await method(request, context)
        except asyncio.CancelledError:
            if call.ended:
                raise call.ended from None
            raise
        finally:
            received.clear()  # the traceback of an error would keep it
            call.data = b""
            held.end()
        if reply is None:
            return None  # a stream has been written already
        written = _to_bytes(reply)
        held.reply(len(written), changed=not about.reads)
        return written

    return call_method


def _keeping_open(method: Method, around: Surroundings) -> Method:
    """Count the board that a watch or a wait keeps open; the default board is open anyway."""
    default_board = around.access.default_board

    async def counted(request: Any, context: Context) -> Any:
        board = request.board or default_board
        if board == default_board:
            return await method(request, context)
        call = CURRENT.get()
        assert call
        with around.limiter.keeping_open(board, call.caller.name, context):
            return await method(request, context)

    return counted


def _answering(name: str, guarded: Guarded, around: Surroundings) -> Method:
    """Turn errors into statuses, and take note of every call before it is answered."""
    answered = around.metrics.answered(name)
    reads = around.access.asks

    async def answer(data: Any, context: Context) -> Any:
        received = [] if reads else [data]
        del data  # a call that lasts keeps what it means alone
        call = Call(name, context.invocation_metadata())  # type: ignore[arg-type]  # pairs
        CURRENT.set(call)
        if call.asked_id:
            context.set_trailing_metadata(((REQUEST_ID, call.asked_id),))
        try:
            reply = await guarded(call, received, context)
        except (asyncio.CancelledError, grpc.aio.InternalError) as gone:
            # The caller has gone, or its time is up; grpc says the latter when we write to it.
            note(call, "CANCELLED", context)
            raise asyncio.CancelledError from gone
        except Exception as error:
            status = _told(name, error)
            note(call, status.code.name, context)
            await _abort(call, status, context)
        note(call, "OK", context)
        return reply

    def note(call: Call, code: str, context: Context) -> None:
        seconds = time.perf_counter() - call.started
        answered(code, seconds)
        if around.lines:
            told = {"code": code, "ms": round(seconds * 1000, 3), "peer": context.peer()}
            log.debug("call", extra=told)

    return answer


async def _abort(call: Call, status: Status, context: Context) -> NoReturn:
    """End a call with a status, and with the name that it goes by in the log."""
    named = (REQUEST_ID, call.request_id)
    try:
        await context.abort(status.code, status.details, (named, *status.trailing_metadata))
    except grpc.aio.InternalError as gone:  # nobody is there to be told
        raise asyncio.CancelledError from gone


def _told(name: str, error: Exception) -> Status:
    """Say an error as a status; one that the board has no word for is told to the log."""
    if isinstance(error, BoardError):
        return status_of(error)
    error_id = secrets.token_hex(4)
    told = {"error_id": error_id}
    log.error("%s failed: internal error %s", name, error_id, extra=told, exc_info=error)
    return internal(error_id)
