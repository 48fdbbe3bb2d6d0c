"""Loopback: a call that the server makes to itself, to wait until it has read all earlier calls.

A renewal may lie unread in a socket when its session's ttl is over. Neither a timer nor the lag
of the event loop shows that, because gRPC reads in its own threads. So before it expires a
session the server calls itself. That call passes through the same kernel, the same threads of
gRPC and the same event loop, behind all calls that arrived before it.
"""

import asyncio
import logging
import secrets
import time
from types import TracebackType
from typing import Any

import grpc

from board_server.errors import CannotListen

log = logging.getLogger(__name__)

SERVICE = "board.Loopback"
METHOD = f"/{SERVICE}/Beat"

LATE = 1.0
"""Seconds after which a slow call is logged."""

CONNECT_TIMEOUT = 10.0
"""Seconds to connect at the start: another local process may have taken the one connection."""

RETRY = 1.0
"""Seconds until a failed call is repeated."""


class Loopback:
    """A server of one empty method, and a channel to it.

    It listens on an abstract Unix socket, which leaves no file behind, and accepts one
    connection: the channel's, made at the start.
    """

    def __init__(self) -> None:
        self._address = address = f"unix-abstract:board-{secrets.token_hex(16)}"
        self._server = grpc.aio.server(options=[("grpc.max_allowed_incoming_connections", 1)])
        beat: Any = grpc.unary_unary_rpc_method_handler(_answer)
        handler = grpc.method_handlers_generic_handler(SERVICE, {"Beat": beat})
        self._server.add_generic_rpc_handlers((handler,))
        self._server.add_insecure_port(address)
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._beat: Any = self._channel.unary_unary(METHOD)
        self._call_lock = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Loopback":
        """Connect. Raises CannotListen if that takes longer than CONNECT_TIMEOUT."""
        await self._server.start()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.caught_up()
        except TimeoutError as error:
            await self._close()
            raise CannotListen(
                f"the server cannot connect to itself at {self._address} within "
                f"{CONNECT_TIMEOUT:g} s: another process on this machine holds the only connection "
                "(ss -xp | grep board-), or the machine is overloaded; start the server again, "
                "which picks another address"
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._channel.close()
        await self._server.stop(None)

    async def caught_up(self) -> None:
        """Return when all calls that had arrived before this one have been read.

        Tasks that begin to wait while a call is in progress share the next call.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._call())
            self._calls.add(self._next)
            self._next.add_done_callback(self._calls.discard)
        await asyncio.shield(self._next)

    async def _call(self) -> None:
        async with self._call_lock:
            self._next = None  # a task that begins to wait from here on needs a later call
            started = time.monotonic()
            await self._call_until_answered()
            late = time.monotonic() - started
            if late > LATE:
                log.warning("calls were read %.1f s late; no session ended meanwhile", late)

    async def _call_until_answered(self) -> None:
        while True:
            try:
                await self._beat(b"", wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                log.warning("a call of the server to itself failed: %s", error.details())
                await asyncio.sleep(RETRY)
            else:
                return


async def _answer(request: bytes, _: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
    return request
