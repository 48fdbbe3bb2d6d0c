"""A valid request for each RPC, and functions that make a call with it."""

import grpc

from tests.rpc.service import GOOD, make

BOARD = "guarded"


def sample(method: str, board: str = BOARD, **fields):
    """Make a valid request for a method, and set `fields` in it."""
    return make(method, **({"board": board} | GOOD[method] | fields))


def call(stub, method: str, request, metadata=(), timeout: float = 10):
    """Make a call; return its reply, or the first message of a stream."""
    reply = getattr(stub, method)(request, metadata=metadata, timeout=timeout)
    if isinstance(reply, grpc.RpcError):  # a stream, which is its own call
        try:
            return next(reply)
        finally:
            reply.cancel()
    return reply


def code_of(stub, method: str, request, metadata=()) -> grpc.StatusCode:
    """Make a call and return its status."""
    try:
        call(stub, method, request, metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK
