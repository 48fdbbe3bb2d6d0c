"""Request timeout: a call whose request does not arrive in time is ended."""

from itertools import takewhile
from time import perf_counter
from typing import Any

import grpc

from board_server.call_context import Call
from board_server.errors import InvalidArgument, ShuttingDown, Violation
from board_server.rpc.limits import Limiter

Context = grpc.aio.ServicerContext[Any, Any]

TIMEOUT = 60.0
"""Seconds in which a request must arrive. The largest needs six megabits a second."""


class RequestTimeout:
    """Receives the requests of calls. Until one has arrived whole, its parts are in memory."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._receiving: dict[Call, None] = {}  # in the order in which they began
        self._shut_down = False

    async def receive(self, call: Call, context: Context) -> bytes:
        """Return the bytes of a call's request.

        Raises InvalidArgument if it has none, and ShuttingDown after `shutdown`.
        """
        if self._shut_down:
            raise ShuttingDown
        self._receiving[call] = None
        try:
            principal = call.principal.name
            data = await (
                self._receive_bounded(call.method, principal, context)
                if principal
                else context.read()
            )
        finally:
            del self._receiving[call]
        if isinstance(data, bytes):
            return data
        raise InvalidArgument([Violation("request", "is missing")])

    async def _receive_bounded(self, method: str, principal: str, context: Context) -> Any:
        """Receive a request as soon as the principal may have one more in transit."""
        semaphore = self._limiter.semaphore(method, principal)
        if semaphore.free:
            semaphore.free -= 1
        else:
            await semaphore.wait()
        try:
            return await context.read()
        finally:
            semaphore.release()

    def check(self) -> None:
        """End the calls whose requests have taken too long."""
        latest = perf_counter() - TIMEOUT
        for call in takewhile(lambda call: call.started < latest, self._receiving):
            what = f"did not arrive within {TIMEOUT:g} seconds"
            call.end(InvalidArgument([Violation("request", what)]))

    def shutdown(self) -> None:
        """End the calls whose requests have not arrived: they have changed nothing."""
        self._shut_down = True
        for call in self._receiving:
            call.end(ShuttingDown())
