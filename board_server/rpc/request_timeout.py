"""Arrivals: the requests that are on their way, none of which may take for ever."""

from itertools import takewhile
from time import perf_counter
from typing import Any

import grpc

from board_server.call_context import Call
from board_server.errors import InvalidArgument, Violation
from board_server.rpc.limits import Limiter

Context = grpc.aio.ServicerContext[Any, Any]

PATIENCE = 60.0
"""Seconds that a request may take: the largest, at nine megabits a second."""


class Arrivals:
    """Waits for requests; what has come of one is in memory until all of it has."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._coming: dict[Call, None] = {}  # in the order of their beginning

    async def request(self, call: Call, context: Context) -> bytes:
        """Return the bytes of a call's request. Raises InvalidArgument where there is none."""
        self._coming[call] = None
        try:
            async with self._limiter.reading(call.method, call.caller.name):
                data = await context.read()
        finally:
            del self._coming[call]
        if isinstance(data, bytes):
            return data
        raise InvalidArgument([Violation("request", "is missing")])

    def look(self) -> None:
        """End the calls whose requests take too long."""
        latest = perf_counter() - PATIENCE
        for call in takewhile(lambda call: call.started < latest, self._coming):
            what = f"did not come within {PATIENCE:g} seconds"
            call.end(InvalidArgument([Violation("request", what)]))
