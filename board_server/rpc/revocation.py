"""Revocation: a watch or a wait ends when its principal loses the right to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from board_server.auth.policy import Policy
from board_server.call_context import Call
from board_server.errors import BoardError
from board_server.principal import Role

Context = grpc.aio.ServicerContext[Any, Any]

CHECKED_AT_ONCE = 100
"""Calls that are checked before the event loop may do other work."""


class Revocation:
    """Knows the long-running calls, and ends those that the policy no longer allows."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._tokens = policy.tokens
        self._calls: dict[Call, Callable[[], Awaitable[None]]] = {}

    @asynccontextmanager
    async def tracking(
        self, call: Call, least: Role, request: Any, context: Context
    ) -> AsyncIterator[None]:
        """Track a call during an `async with` block; end it if its principal loses the right.

        Raises Unauthenticated or PermissionDenied if the principal has lost it already.
        """
        of_board = type(request)(board=request.board)  # the policy reads no other field

        async def check() -> None:
            principal = await self._policy.authorize(least, call.metadata, context)
            await self._policy.authorize_request(principal, of_board)

        self._calls[call] = check
        try:
            await check()  # the tokens may have changed while the request arrived
            yield
        finally:
            del self._calls[call]

    async def check(self) -> None:
        """If the token file has changed, end the calls that it no longer allows."""
        tokens = await self._policy.reread()
        if tokens is self._tokens:
            return
        self._tokens = tokens
        for number, (call, check) in enumerate(list(self._calls.items()), 1):
            try:
                await check()
            except BoardError as error:
                if call in self._calls:  # otherwise it is sending its reply by now
                    call.end(error)
            if number % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
