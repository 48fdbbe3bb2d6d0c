"""What stands between gRPC and the servicer: errors become statuses, on every method alike.

The handlers are wrapped once, when they are registered, which costs a call
nothing but one more frame; grpc's own interceptors cost a lookup and a task each.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf import message_factory

from board_client.v1 import board_pb2 as pb
from board_server.errors import BoardError, InvalidArgument
from board_server.malformed import tolerant
from board_server.status import Status, internal, status_of

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["BoardService"]

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # no generic at run time
Method = Callable[[Any, Context], Awaitable[Any]]


def intercepted(handlers: Mapping[str, Handler]) -> grpc.GenericRpcHandler:
    """Wrap each handler of the service, and make them one generic handler."""
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name,
        {name: _wrapped(name, handler) for name, handler in handlers.items()},
    )


def _wrapped(name: str, handler: Any) -> Handler:
    request = message_factory.GetMessageClass(SERVICE.methods_by_name[name].input_type)
    streams = handler.response_streaming
    make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    return make(
        _answering(name, handler.unary_stream if streams else handler.unary_unary),
        request_deserializer=tolerant(request),
        response_serializer=_to_bytes,
    )


def _to_bytes(reply: Any) -> bytes:
    """Serialize a reply; what many share comes encoded already."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


def _answering(name: str, method: Method) -> Method:
    async def answer(request: Any, context: Context) -> Any:
        try:
            if isinstance(request, InvalidArgument):
                raise request
            return await method(request, context)
        except BoardError as error:
            await _abort(context, status_of(error))
        except Exception as error:
            if isinstance(error, grpc.aio.InternalError) and context.done():
                return None  # the reader of a stream has gone: there is nobody to answer
            error_id = secrets.token_hex(4)
            log.exception("%s failed: internal error %s", name, error_id)
            await _abort(context, internal(error_id))

    return answer


async def _abort(context: Context, status: Status) -> NoReturn:
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort raises")
