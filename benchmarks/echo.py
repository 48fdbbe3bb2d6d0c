"""A bare grpc.aio server with the board's messages: the upper bound for a server in Python.

Each handler builds a reply of the same size as the board's from the request alone. The
server uses asyncio's own event loop and gRPC's default engine.
"""

import asyncio

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceServicer, add_BoardServiceServicer_to_server
from board_server import announcement

NOW = Timestamp(seconds=1_790_000_000, nanos=123_456_000)


class Echo(BoardServiceServicer):
    """Answers two methods; the others are not implemented."""

    async def GetPhaseState(  # noqa: N802  the proto's name
        self, request: pb.GetPhaseStateRequest, _context: object
    ) -> pb.GetPhaseStateResponse:
        """Return a made-up phase with the requested ID."""
        return pb.GetPhaseStateResponse(phase=_phase(request.phase_id, "worker-1"))

    async def SetPhaseState(  # noqa: N802  the proto's name
        self, request: pb.SetPhaseStateRequest, _context: object
    ) -> pb.SetPhaseStateResponse:
        """Return the requested state."""
        return pb.SetPhaseStateResponse(
            phase=_phase(request.phase_id, request.worker), revision=123_456
        )


def _phase(phase_id: str, worker: str) -> pb.Phase:
    return pb.Phase(
        phase_id=phase_id,
        state=pb.PHASE_STATE_RUNNING,
        worker=worker,
        posted_at=NOW,
        updated_at=NOW,
    )


async def serve() -> None:
    """Serve until killed; announce the address as `board serve` does."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_BoardServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(announcement.listening(f"127.0.0.1:{port}"), flush=True)  # noqa: T201
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
