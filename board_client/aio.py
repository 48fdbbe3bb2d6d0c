"""AsyncBoardClient: the board for programs with an event loop."""

import copy
import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from board_client import calls
from board_client.calls import Call, Listing
from board_client.channel import DEFAULT_TARGET, DEFAULT_TIMEOUT, OPTIONS
from board_client.errors import from_rpc_error
from board_client.v1.board_pb2_grpc import BoardServiceStub

P = ParamSpec("P")
T = TypeVar("T")


def _one(
    build: Callable[Concatenate[str, P], Call[T]],
) -> "Callable[Concatenate[AsyncBoardClient, P], Coroutine[Any, Any, T]]":
    @functools.wraps(build)
    async def method(self: "AsyncBoardClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(build(self.board, *args, **kwargs))

    return method


def _all(
    build: Callable[Concatenate[str, P], Listing[T]],
) -> "Callable[Concatenate[AsyncBoardClient, P], Coroutine[Any, Any, list[T]]]":
    @functools.wraps(build)
    async def method(self: "AsyncBoardClient", /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        return await self._collect(build(self.board, *args, **kwargs))

    return method


class AsyncBoardClient:
    """As BoardClient, with `await` before each call and `async with` around it."""

    def __init__(
        self, target: str = DEFAULT_TARGET, board: str = "", *, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.target = target
        self.board = board
        self.timeout = timeout
        self._channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self._stub = BoardServiceStub(self._channel)

    open_board = _one(calls.open_board)
    list_boards = _all(calls.list_boards)
    set_phase_state = _one(calls.set_phase_state)
    get_phase_state = _one(calls.get_phase_state)
    get_phase = _one(calls.get_phase)
    list_phases = _all(calls.list_phases)
    publish_contract = _one(calls.publish_contract)
    publish_contracts = _one(calls.publish_contracts)
    contracts_for = _all(calls.contracts_for)
    all_contracts = _all(calls.all_contracts)
    list_contracts = _all(calls.list_contracts)
    claim_file = _one(calls.claim_file)
    release_claims = _one(calls.release_claims)
    file_owner = _one(calls.file_owner)
    claims_for = _all(calls.claims_for)
    list_claims = _all(calls.list_claims)

    def on(self, board: str) -> Self:
        """Return a client of another board that shares this one's connection."""
        other = copy.copy(self)
        other.board = board
        return other

    def within(self, timeout: float) -> Self:
        """Return a client whose calls may take `timeout` seconds, on the same connection."""
        other = copy.copy(self)
        other.timeout = timeout
        return other

    async def close(self) -> None:
        """Close the connection, for every client that shares it. Idempotent."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(self, call: Call[T]) -> T:
        try:
            method = getattr(self._stub, call.method)
            return call.result(await method(call.request, timeout=self.timeout))
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target, self.timeout) from error

    async def _collect(self, listing: Listing[T]) -> list[T]:
        items: list[T] = []
        more = True
        while more:
            response = await self._send(Call(listing.method, listing.request, lambda r: r))
            items += listing.items(response)
            more = listing.follow(response)
        return items
