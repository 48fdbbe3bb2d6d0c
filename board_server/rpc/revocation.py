"""Calls that last: watches and waits go on for as long as their callers may make them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from board_server.auth.policy import Access
from board_server.call_context import CURRENT, Call
from board_server.errors import BoardError
from board_server.principal import Role

Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[[Any, Context], Awaitable[Any]]

AT_ONCE = 100
"""Calls that are looked at before others have their turn."""


class Lasting:
    """Knows the calls that last, and ends those whose callers have lost the right to them."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._tokens = access.tokens
        self._calls: dict[Call, Callable[[], Awaitable[None]]] = {}

    def kept(self, least: Role, method: Method) -> Method:
        """Have a method's calls looked after while they last."""

        async def go_on(request: Any, context: Context) -> Any:
            call = CURRENT.get()
            assert call
            of_board = type(request)(board=request.board)  # all that the tokens ask for

            async def check() -> None:
                caller = await self._access.admit(least, call.metadata, context)
                await self._access.permit(caller, of_board)

            self._calls[call] = check
            try:
                await check()  # the tokens may have changed while the request came
                return await method(request, context)
            finally:
                del self._calls[call]

        return go_on

    async def look(self) -> None:
        """End the calls that the file of tokens, if it has changed, does not allow any more."""
        tokens = await self._access.reread()
        if tokens is self._tokens:
            return
        self._tokens = tokens
        for number, (call, check) in enumerate(list(self._calls.items()), 1):
            try:
                await check()
            except BoardError as error:
                call.end(error)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
