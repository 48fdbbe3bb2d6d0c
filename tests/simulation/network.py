"""The network: grpc.aio's server and the calls to it, without sockets.

A request arrives after a random delay, and so does its reply. A request may arrive long after its
caller has given it up and sent it again, and a reply may be lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from board_server.wire.statuses import DETAILS_KEY
from tests.simulation.loop import Defect, SimulatedLoop

TRAVEL = (0.0, 0.0, 0.0, 0.001, 0.001, 0.01)
"""Seconds that a message takes. Few values, so that many things coincide."""

LATE = (0.5, 3.0, 20.0)
"""Seconds that a message takes if a proxy delays it."""

MAX_HOPS = 3
"""Callbacks of gRPC through which a request passes before its handler is called."""

WINDOW = 4
"""Unread messages of a stream from which on its writer has to wait."""

SERVICE = "/board.v1.BoardService/"

ADDRESS = "127.0.0.1:7447"
"""The server's address."""


class Refused(Exception):
    """A status that the server gave: its code, and the reason in its ErrorInfo, "" if none."""

    def __init__(self, code: grpc.StatusCode, reason: str, metadata: dict[str, str]) -> None:
        super().__init__(f"{code.name} {reason} {metadata}")
        self.code, self.reason, self.metadata = code, reason, metadata


class Broken(Exception):
    """The connection broke: the outcome of the call is unknown."""


class Aborted(Exception):
    """What `abort` raises in a handler."""


@dataclass(frozen=True)
class Faults:
    """Probabilities that a message is delayed and that a reply is lost."""

    late: float
    lost: float


class SimulatedServer:
    """Replaces grpc.aio.Server."""

    def __init__(self, network: "Network") -> None:
        self._network = network
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._calls: dict[ServerCall, None] = {}
        self._addresses: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._handlers += handlers

    def add_insecure_port(self, address: str) -> int:
        self._addresses.append(address)
        port = address.rpartition(":")[2]
        return int(port) if port.isdecimal() else 1

    async def start(self) -> None:
        self._network.servers.update(dict.fromkeys(self._addresses, self))

    async def stop(self, grace: float | None) -> None:
        """Accept no more calls; cancel those that still run after `grace` seconds."""
        for address in self._addresses:
            self._network.servers.pop(address, None)
        tasks = [call.task for call in self._calls if call.task]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=grace or 0)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def begin(self, call: "ServerCall") -> None:
        """Answer a call in a task of its own."""
        for handlers in self._handlers:
            if handler := handlers.service(call):  # type: ignore[arg-type]  # has its two fields
                call.task = asyncio.get_running_loop().create_task(self._answer(handler, call))
                self._calls[call] = None
                return
        raise Defect(f"nobody answers {call.method}")

    async def _answer(self, handler: Any, call: "ServerCall") -> None:
        call.serialize = handler.response_serializer or bytes
        try:
            if handler.response_streaming:
                await handler.stream_stream(None, call)
                call.end(None)
            elif handler.request_streaming:
                call.end(call.serialize(await handler.stream_unary(None, call)))
            else:
                call.end(call.serialize(await handler.unary_unary(call.request, call)))
        except Aborted:
            pass  # `abort` has ended the call
        except asyncio.CancelledError:
            call.end(Refused(grpc.StatusCode.CANCELLED, "", {}))
        except Exception as error:
            raise Defect(f"{call.method} raised {error!r}") from error
        finally:
            del self._calls[call]
            for callback in call.callbacks:
                callback(call)


class ServerCall:
    """One attempt at a call, as the server sees it: grpc.aio's ServicerContext."""

    def __init__(
        self,
        network: "Network",
        method: str,
        request: bytes,
        metadata: tuple[tuple[str, str], ...],
        peer: str,
    ) -> None:
        self.method = method
        self.reliable = False
        self.request = request
        self.task: asyncio.Task[None] | None = None
        self.serialize: Callable[[Any], bytes]
        self.callbacks: list[Callable[[Any], None]] = []
        self.outcome: asyncio.Future[bytes | None] = network.loop.create_future()
        self.sent = network.loop.time()
        self.late = False
        self.abandoned = False
        self._coming: deque[tuple[Callable[[Any], None], Any]] = deque()  # messages in order
        self._unread: deque[bytes] = deque()
        self._read = asyncio.Event()
        self._written = asyncio.Event()
        self._network = network
        self._metadata = metadata
        self._peer = peer

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def peer(self) -> str:
        return f"ipv4:192.0.2.{self._peer}:1"

    def auth_context(self) -> dict[str, Any]:
        return {}

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Ignore the metadata: no client reads it."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.callbacks.append(callback)

    async def abort(self, code: grpc.StatusCode, details: str, trailing: Any = ()) -> None:
        reason, metadata = "", {}
        for key, value in trailing:
            if key == DETAILS_KEY:
                reason, metadata = _error_info(value)
        if reason == "INTERNAL" and not self._network.excused(self):
            network = self._network
            network.loop.fail(Defect(f"{self.method} was answered {details}"), network.logged)
        self.end(Refused(code, reason, metadata))
        raise Aborted

    async def read(self) -> bytes:
        return self.request

    async def write(self, message: Any) -> None:
        while len(self._unread) + len(self._coming) >= WINDOW:
            self._read.clear()
            await self._read.wait()
        self._send(self._arrive, self.serialize(message))

    def end(self, outcome: "bytes | Exception | None") -> None:
        """Send the message that ends the call; a client that has cancelled does not get it."""
        lost = self._network.loop.chance.random() < self._network.weather.lost
        self._send(self._settle, Broken() if lost and not self.reliable else outcome)

    def _send(self, take: Callable[[Any], None], what: Any) -> None:
        self._coming.append((take, what))
        self._network.loop.later(TRAVEL, self._take)

    def _take(self) -> None:
        take, what = self._coming.popleft()
        take(what)

    def _arrive(self, message: bytes) -> None:
        self._unread.append(message)
        self._written.set()

    def _settle(self, outcome: Any) -> None:
        self._written.set()
        if self.outcome.done():
            return
        if isinstance(outcome, Exception):
            self.outcome.set_exception(outcome)
            self.outcome.exception()  # retrieved here: the client may have cancelled
        else:
            self.outcome.set_result(outcome)

    async def next_message(self) -> bytes | None:
        """Return the next message of the stream, None at its end. Called by the client."""
        while not self._unread:
            if self.outcome.done():
                return self.outcome.result()
            self._written.clear()
            await self._written.wait()
        self._read.set()
        return self._unread.popleft()


class Network:
    """Carries calls to the server that runs now."""

    def __init__(self, loop: SimulatedLoop, weather: Faults) -> None:
        self.loop = loop
        self.weather = weather
        self.servers: dict[str, SimulatedServer] = {}
        """The servers that run, by their addresses."""
        self.excused: Callable[[ServerCall], bool] = lambda _: False
        """Whether a call may be answered INTERNAL."""
        self.logged: BaseException | None = None
        """The last exception that the server logged."""

    def new_server(self, **_: Any) -> SimulatedServer:
        """Replaces grpc.aio.server."""
        return SimulatedServer(self)

    def new_channel(self, address: str, **_: Any) -> "SimulatedChannel":
        """Replaces grpc.aio.insecure_channel."""
        return SimulatedChannel(self, address)

    def send(self, method: str, request: Message, key: str, peer: str) -> ServerCall:
        """Send a call; return it at once."""
        metadata = (("board-request-id", key),) if key else ()
        data = request.SerializeToString()
        call = ServerCall(self, SERVICE + method, data, metadata, peer)
        call.late = self.loop.chance.random() < self.weather.late
        hops = self.loop.chance.randrange(MAX_HOPS + 1)
        self.loop.later(LATE if call.late else TRAVEL, self._arrive, call, hops)
        return call

    def abandon(self, call: ServerCall) -> None:
        """Cancel a call. The server gets the cancellation after the request, which may be late."""
        if not call.outcome.done():
            call.outcome.cancel()
        self.loop.later(TRAVEL, self._cancel, call)

    def _arrive(self, call: ServerCall, hops: int) -> None:
        if hops:
            self.loop.call_soon(self._arrive, call, hops - 1)
            return
        server = self.servers.get(ADDRESS)
        if server is None:
            call.end(Broken())
            return
        server.begin(call)
        if call.abandoned:
            self.loop.later(TRAVEL, self._cancel, call)

    def _cancel(self, call: ServerCall) -> None:
        call.abandoned = True
        if call.task:
            call.task.cancel()


class SimulatedChannel:
    """A connection of the server to itself: its calls take time and are never lost."""

    def __init__(self, network: Network, address: str) -> None:
        self._network = network
        self._address = address

    def unary_unary(self, method: str) -> Callable[..., Any]:
        async def call(request: bytes, **_: Any) -> bytes | None:
            made = ServerCall(self._network, method, request, (), "0")
            made.reliable = True
            self._network.loop.later(TRAVEL, self._arrive, made)
            return await made.outcome

        return call

    def _arrive(self, call: ServerCall) -> None:
        if server := self._network.servers.get(self._address):
            server.begin(call)

    async def close(self) -> None:
        """Do nothing: there is no connection to close."""


def _error_info(details: bytes) -> tuple[str, dict[str, str]]:
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason, dict(sorted(info.metadata.items()))
