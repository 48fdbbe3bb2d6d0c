"""The steps of every call: authorize, limit, receive, decode, call, record.

Each method is registered with gRPC as taking a stream of requests. Its handler then runs before
the request has arrived, so it can refuse a principal that may not make the call, and end a call
whose request does not arrive. docs/decisions/0010-stream-handlers-for-all-calls.md measures that.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import Message

from board_client.v1.board_pb2_grpc import BoardServiceServicer
from board_server.auth.policy import Policy
from board_server.call_context import CURRENT, REQUEST_ID, Call
from board_server.errors import BoardError
from board_server.rpc.limits import Limiter, refuse_larger
from board_server.rpc.request_timeout import RequestTimeout
from board_server.rpc.revocation import Revocation
from board_server.telemetry.metrics import Metrics
from board_server.telemetry.tracing import Traced
from board_server.wire.decoding import parser
from board_server.wire.methods import METHODS, SERVICE, Method
from board_server.wire.statuses import Status, internal, status_of

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
RpcHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # no generic at run time
Reply = Message | bytes | None
"""What a method of the servicer returns: None if it has written a stream."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the handlers of all methods share."""

    policy: Policy
    limiter: Limiter
    request_timeout: RequestTimeout
    revocation: Revocation
    metrics: Metrics
    traced: Traced | None = None
    log_calls: bool = field(default_factory=lambda: log.isEnabledFor(logging.DEBUG))


class BoardHandler(grpc.GenericRpcHandler):
    """Finds the handler of a call by the name of its method."""

    def __init__(self, servicer: BoardServiceServicer, shared: Shared) -> None:
        self._handlers = {
            f"/{SERVICE.full_name}/{name}": MethodHandler(
                method, getattr(servicer, name), shared
            ).for_grpc()
            for name, method in METHODS.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "RpcHandler | None":
        """Return the handler; None for a method that the service does not have."""
        return self._handlers.get(handler_call_details.method)


class MethodHandler:
    """Answers the calls of one method, step by step."""

    def __init__(
        self,
        method: Method,
        behavior: Callable[[Any, Context], Awaitable[Reply]],
        shared: Shared,
    ) -> None:
        """Prepare the steps; `behavior` is the method of the servicer."""
        self._method = method
        self._shared = shared
        self._authorize = shared.policy.authorize
        self._begin = shared.limiter.begin
        self._receive = shared.request_timeout.receive
        self._parse = parser(method.request)
        self._behavior = behavior
        self._call = self._call_long_running if method.row.long_running else behavior
        self._answered = shared.metrics.answered(method.name)
        # A call is traced after it is authorized: unknown clients cannot make spans.
        traced = shared.traced
        self._proceed = traced(method.name, self._authorized) if traced else self._authorized

    def for_grpc(self) -> RpcHandler:
        """Return this handler in the form that gRPC takes."""
        if self._method.streams:
            make: Any = grpc.stream_stream_rpc_method_handler
        else:
            make = grpc.stream_unary_rpc_method_handler
        handler: RpcHandler = make(self.answer, response_serializer=_encoded)
        return handler

    async def answer(self, _: object, context: Context) -> bytes | None:
        """Answer a call: turn errors into statuses, and record the call before its end."""
        call = Call(self._method.name, context.invocation_metadata())  # type: ignore[arg-type]  # pairs
        CURRENT.set(call)
        if call.asked_id:
            context.set_trailing_metadata(((REQUEST_ID, call.asked_id),))
        try:
            call.principal = await self._authorize(self._method.row.role, call.metadata, context)
            reply = await self._proceed(call, context)
        except (asyncio.CancelledError, grpc.aio.InternalError) as gone:
            # The client is gone, or the deadline has passed: a write then raises InternalError.
            self._record(call, "CANCELLED", context)
            raise asyncio.CancelledError from gone
        except Exception as error:
            status = self._status(error)
            self._record(call, status.code.name, context)
            await _abort(call, status, context)
        self._record(call, "OK", context)
        return reply

    async def _authorized(self, call: Call, context: Context) -> bytes | None:
        """Answer an authorized call, if its request and the limits allow it."""
        holding = call.holding = self._begin(self._method.name, call.principal.name, context)
        try:
            request = self._decode(call, await self._receive(call, context))
            if call.principal.bound:
                await self._shared.policy.authorize_request(call.principal, request)
            reply = await self._call(request, context)
        except asyncio.CancelledError:
            if call.ended:
                raise call.ended from None
            raise
        finally:
            call.data = b""  # the traceback of an error would keep it
            holding.end()
        if reply is None:
            return None
        encoded = _encoded(reply)
        holding.reply(len(encoded), changed=not self._method.reads)
        return encoded

    def _decode(self, call: Call, data: bytes) -> Any:
        """Parse a request, and count it twice against the limits: as bytes and parsed."""
        try:
            refuse_larger(self._method.name, len(data))
            call.holding.hold(2 * len(data))
            if self._method.keyed:
                call.data = data
            return self._parse(data)
        finally:
            del data  # the traceback of an error would keep it

    async def _call_long_running(self, request: Any, context: Context) -> Reply:
        """Call a long-running method, and count the board that the call keeps open."""
        call = CURRENT.get()
        assert call
        limiter, policy = self._shared.limiter, self._shared.policy
        least = self._method.row.role
        async with self._shared.revocation.tracking(call, least, request, context):
            board = request.board or policy.default_board
            with (
                nullcontext()  # the default board stays open anyway
                if board == policy.default_board
                else limiter.keeping_open(board, call.principal.name, context)
            ):
                return await self._behavior(request, context)

    def _record(self, call: Call, code: str, context: Context) -> None:
        """Count a call in the metrics; at debug, log it."""
        seconds = time.perf_counter() - call.started
        self._answered(code, seconds)
        if self._shared.log_calls:
            facts = {"code": code, "ms": round(seconds * 1000, 3), "peer": context.peer()}
            log.debug("call", extra=facts)

    def _status(self, error: Exception) -> Status:
        """Return the status of an error. An unexpected one is logged with an ID."""
        if isinstance(error, BoardError):
            return status_of(error)
        error_id = secrets.token_hex(4)
        facts = {"error_id": error_id}
        name = self._method.name
        log.error("%s failed: internal error %s", name, error_id, extra=facts, exc_info=error)
        return internal(error_id)


def _encoded(reply: Message | bytes) -> bytes:
    """Encode a reply. A reply that several calls share is encoded already."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


async def _abort(call: Call, status: Status, context: Context) -> NoReturn:
    """End a call with a status and its request ID."""
    named = (REQUEST_ID, call.request_id)
    try:
        await context.abort(status.code, status.details, (named, *status.trailing_metadata))
    except grpc.aio.InternalError as gone:  # the client is gone
        raise asyncio.CancelledError from gone
