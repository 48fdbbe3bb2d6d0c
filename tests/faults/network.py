"""A network that fails on command: a TCP proxy between a client and a server."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Proxy:
    """Forwards bytes between clients and one server, until a method makes it fail.

    Every method may be called from any thread. `reset_all` and `half_close_all` return
    when they are done; later connections work. `connections` counts all connections
    of clients.
    """

    def __init__(self, server: str) -> None:
        self._server = server.rsplit(":", 1)
        self._links: set[_Link] = set()
        self._delay = 0.0
        self._swallowing = False
        self._swallowed = 0
        self.connections = 0
        self._changed = threading.Condition()
        self._stop: asyncio.Event
        self._started: Future[str] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), name="proxy")

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self.address = self._started.result(60)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def pass_on(self) -> None:
        """Forward everything again."""
        self._delay, self._swallowing = 0.0, False

    def delay(self, seconds: float) -> None:
        """Delay the server's replies by this many seconds."""
        self._delay = seconds

    def swallow_replies(self) -> None:
        """Forward requests, and drop the server's replies."""
        with self._changed:
            self._swallowing, self._swallowed = True, 0

    def wait_for_swallowed(self, pieces: int, seconds: float = 60) -> bool:
        """Wait until this many pieces of replies were dropped, or for the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._swallowed >= pieces, seconds)

    def hold_requests(self) -> None:
        """Hold the requests on the present connections, which then get no answers."""
        self._do(lambda link: link.hold())

    def wait_for_held(self, part: bytes, seconds: float = 60) -> bool:
        """Wait until held data contains this, or for the timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: any(part in (link.held or b"") for link in list(self._links)), seconds
            )

    def cut_off_clients(self) -> None:
        """Reset the held connections to the clients, and keep their data for `deliver`."""
        self._do(lambda link: link.cut_off())

    def deliver(self) -> None:
        """Forward the held data to the server."""
        self._do(lambda link: link.delivered.set())

    def reset_all(self) -> None:
        """Reset every connection."""
        self._do(lambda link: link.reset())

    def half_close_all(self) -> None:
        """Close the server's direction of every connection, and keep reading requests."""
        self._do(lambda link: link.half_close())

    def _do(self, what: Callable[["_Link"], None]) -> None:
        async def do() -> None:
            for link in list(self._links):
                what(link)
            self._swallowing = False  # only now: dropped data stays dropped

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(60)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        host, port = listening.sockets[0].getsockname()
        self._started.set_result(f"{host}:{port}")
        await self._stop.wait()
        listening.close()
        for link in list(self._links):
            link.reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            from_server, to_server = await asyncio.open_connection(*self._server)
        except OSError:
            to_client.close()
            return
        link = _Link(to_client, to_server)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._carry(from_client, to_server, link),
                self._carry_back(from_server, to_client, link),
            )
        except OSError:
            pass  # broken, by us or by them
        finally:
            self._links.discard(link)
            link.reset()

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, link: "_Link"
    ) -> None:
        while piece := await source.read(65536):
            if link.held is None:
                sink.write(piece)
                await sink.drain()
            else:
                with self._changed:
                    link.held += piece
                    self._changed.notify_all()
        if link.held is None:
            sink.close()
        else:
            await link.delivered.wait()
            sink.write(link.held)
            await sink.drain()

    async def _carry_back(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, link: "_Link"
    ) -> None:
        while piece := await source.read(65536):
            if self._swallowing or link.half_closed or link.held is not None:
                with self._changed:
                    self._swallowed += 1
                    self._changed.notify_all()
                continue
            await asyncio.sleep(self._delay)
            if link.half_closed or link.held is not None:
                continue
            sink.write(piece)
            await sink.drain()
        sink.close()


class _Link:
    def __init__(self, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter) -> None:
        self._to_client, self._to_server = to_client, to_server
        self.half_closed = False
        self.held: bytes | None = None
        self.delivered = asyncio.Event()

    def hold(self) -> None:
        self.held = b""

    def cut_off(self) -> None:
        if self.held is not None:
            _reset(self._to_client)

    def reset(self) -> None:
        self.delivered.set()
        _reset(self._to_client)
        _reset(self._to_server)

    def half_close(self) -> None:
        if not self._to_client.is_closing() and not self.half_closed:
            self.half_closed = True
            self._to_client.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw and not writer.is_closing():
        # To linger for no time makes closing send a reset.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
