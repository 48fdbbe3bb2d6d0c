"""A request that makes sense for each RPC, and how to make a call with it."""

import grpc

from board_client.v1 import board_pb2 as pb

BOARD = "guarded"

_contract = pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name="N")
_free = pb.WaitCondition(file_free=pb.FileCondition(filepath="nobody/has/this.go"))
_ttl = {"seconds": 60}


def sample(method: str, board: str = BOARD, **fields):
    """Make a valid request for a method; `fields` are set besides."""
    given = {
        "SetPhaseState": {"phase_id": "p", "state": pb.PHASE_STATE_RUNNING},
        "GetPhaseState": {"phase_id": "p"},
        "PublishContract": {"contract": _contract},
        "PublishContracts": {"contracts": [_contract]},
        "ClaimFile": {"filepath": "a.go", "owner": "p"},
        "ClaimFiles": {"filepaths": ["a.go"], "owner": "p"},
        "ReleaseClaims": {"owner": "p"},
        "GetFileOwner": {"filepath": "a.go"},
        "CompletePhase": {"phase_id": "p", "state": pb.PHASE_STATE_DONE},
        "WaitFor": {"conditions": [_free]},
        "OpenSession": {"worker": "w", "ttl": _ttl},
        "RenewSession": {"session_id": "of-nobody"},
        "CloseSession": {"session_id": "of-nobody"},
    }.get(method, {})
    request = getattr(pb, f"{method}Request")
    return request(board=board, **(given | fields))


def call(stub, method: str, request, metadata=(), timeout: float = 10):
    """Make a call, of a stream take the first message; return its reply."""
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
