"""AsyncBoardClient: the board for programs with an event loop."""

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import grpc

from board_client import calls, renewal
from board_client.arguments import checked
from board_client.calls import Call, Listing, Scope, Stream
from board_client.channel import (
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT,
    MAX_ATTEMPTS,
    Connection,
    metadata,
)
from board_client.credentials import Credentials
from board_client.diagnosis import explained, unexplained
from board_client.errors import (
    BoardError,
    ClientClosed,
    DeadlineExceeded,
    SessionExpired,
    from_rpc_error,
)
from board_client.methods import presented
from board_client.model import Condition, Event, EventKind, Met, OnExpiry, Snapshot
from board_client.watch import Follow, Patience

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


def _one(
    build: Callable[Concatenate[Scope, P], Call[T]],
) -> "Callable[Concatenate[AsyncBoardClient, P], Coroutine[Any, Any, T]]":
    request = checked(build)

    async def method(self: "AsyncBoardClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._send(request(self.scope, *args, **kwargs))

    return presented(method, build, "AsyncBoardClient")


def _all(
    build: Callable[Concatenate[Scope, P], Listing[T]],
) -> "Callable[Concatenate[AsyncBoardClient, P], Coroutine[Any, Any, list[T]]]":
    request = checked(build)

    async def method(self: "AsyncBoardClient", /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        return await self._collect(request(self.scope, *args, **kwargs))

    return presented(method, build, "AsyncBoardClient")


def _parts(
    build: Callable[Concatenate[Scope, P], Stream[Any, T]],
) -> "Callable[Concatenate[AsyncBoardClient, P], Coroutine[Any, Any, T]]":
    request = checked(build)

    async def method(self: "AsyncBoardClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._assemble(request(self.scope, *args, **kwargs))

    return presented(method, build, "AsyncBoardClient")


class AsyncBoardClient:
    """As BoardClient, with `await` before each call, `async for` and `async with`."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        board: str = "",
        *,
        timeout: float = DEFAULT_TIMEOUT,
        credentials: Credentials | None = None,
    ) -> None:
        self.target = target
        self.credentials = credentials or Credentials()
        self.scope = Scope(board)
        self.timeout = timeout
        self._connection = Connection(grpc.aio, target, self.credentials)

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
    claim_files = _one(calls.claim_files)
    release_claims = _one(calls.release_claims)
    file_owner = _one(calls.file_owner)
    claims_for = _all(calls.claims_for)
    list_claims = _all(calls.list_claims)
    complete_phase = _one(calls.complete_phase)
    get_snapshot = _parts(calls.get_snapshot)
    archive_board = _one(calls.archive_board)
    open_session = _one(calls.open_session)
    renew_session = _one(calls.renew_session)
    close_session = _one(calls.close_session)
    list_sessions = _all(calls.list_sessions)

    @property
    def board(self) -> str:
        """Name of the client's board; "" is the server's default board."""
        return self.scope.board

    async def wait_for(self, *conditions: Condition) -> Met:
        """As BoardClient.wait_for."""
        call = calls.wait_for(self.scope, *conditions)
        patience = Patience(self.timeout)
        while True:
            try:
                return await self._send(call, patience.left())
            except BoardError as error:
                await asyncio.sleep(patience.pause(error))

    def watch(
        self, *kinds: EventKind | str, after_revision: int | None = None
    ) -> "AsyncWatch[Event]":
        """As BoardClient.watch, to go through with `async for`.

        It stands from its first step on; `async with client.watch() as events`
        makes that step, so that everything from there on is in it.
        """
        follow = Follow(self.scope, kinds, after_revision=after_revision)
        return AsyncWatch(self._follow(follow))

    def watch_from_snapshot(self, *kinds: EventKind | str) -> "AsyncWatch[Snapshot | Event]":
        """As BoardClient.watch_from_snapshot, to go through with `async for`."""
        return AsyncWatch(self._follow(Follow(self.scope, kinds, snapshots=True)))

    async def events(self, after_revision: int, until_revision: int) -> list[Event]:
        """As BoardClient.events."""
        follow = Follow(self.scope, after_revision=after_revision)
        events: list[Event] = []
        async with aclosing(self._follow(follow)) as batches:
            while follow.revision < until_revision:
                events += await anext(batches)
        return [event for event in events if event.revision <= until_revision]

    def session(
        self,
        worker: str,
        ttl: timedelta | float = 30.0,
        on_expiry: OnExpiry | str = OnExpiry.FAIL,
        *,
        on_lost: Callable[[], None] | None = None,
    ) -> "AsyncBoardSession":
        """As BoardClient.session, for an `async with` block; a task renews it."""
        return AsyncBoardSession(self, worker, ttl, on_expiry, on_lost)

    def on(self, board: str) -> Self:
        """Return a client of another board that shares this one's connection."""
        return self._with(scope=Scope(board))

    def in_session(self, session_id: str) -> Self:
        """Return a client whose calls belong to a session that someone else renews."""
        return self._with(scope=Scope(self.board, session_id))

    def within(self, timeout: float) -> Self:
        """Return a client whose calls may take `timeout` seconds, on the same connection."""
        return self._with(timeout=timeout)

    async def close(self) -> None:
        """Close the connection, for every client that shares it. Idempotent."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _with(self, **changed: object) -> Self:
        other = copy.copy(self)
        vars(other).update(changed)
        return other

    @asynccontextmanager
    async def _failing(self) -> AsyncIterator[None]:
        """Raise as BoardErrors what goes wrong with a call."""
        try:
            yield
        except grpc.RpcError as error:
            raise await self._failure(error) from error
        except asyncio.CancelledError as error:
            # Closing cancels the calls that are under way, and not the tasks that wait for them.
            task = asyncio.current_task()
            if self._connection.closed and task and not task.cancelling():
                raise ClientClosed.of(self.target) from error
            raise

    async def _failure(self, error: grpc.RpcError) -> BoardError:
        told = from_rpc_error(error, self.target, self.timeout)
        if unexplained(told):
            told = await asyncio.to_thread(explained, told, self.target, self.credentials)
        return told

    async def _send(self, call: Call[T], seconds: float | None = None) -> T:
        if call.request is None:
            return call.result(None)
        timeout = self.timeout if seconds is None else seconds
        method = self._connection.method(call.method)
        async with self._failing():
            return call.result(
                await method(call.request, timeout=timeout, metadata=metadata(call.method))
            )

    async def _collect(self, listing: Listing[T]) -> list[T]:
        items: list[T] = []
        more = True
        while more:
            response = await self._send(Call(listing.method, listing.request, lambda r: r))
            items += listing.items(response)
            more = listing.follow(response)
        return items

    async def _assemble(self, stream: Stream[Any, T]) -> T:
        patience = Patience(self.timeout, MAX_ATTEMPTS)
        while True:
            try:
                return stream.result(await self._parts_of(stream, patience.left()))
            except BoardError as error:
                await asyncio.sleep(patience.pause(error))

    async def _parts_of(self, stream: Stream[Any, T], seconds: float) -> list[Any]:
        method = self._connection.method(stream.method)
        async with self._failing():
            return [part async for part in method(stream.request, timeout=seconds)]

    async def _follow(self, follow: Follow) -> AsyncGenerator[list[Any], None]:
        """Yield what each message brings; the first as soon as the watch stands."""
        while True:
            try:
                if follow.needs_snapshot:
                    yield [follow.start_from(await self.get_snapshot())]
                async for batch in self._one_stream(follow):
                    yield batch
            except BoardError as error:
                await asyncio.sleep(follow.pause(error))

    async def _one_stream(self, follow: Follow) -> AsyncGenerator[list[Any], None]:
        stream: Any = self._connection.method("Watch")(follow.request())
        try:
            # The stream has no deadline, its first message has.
            async with self._failing(), asyncio.timeout(self.timeout):
                response = await stream.read()
            while response is not grpc.aio.EOF:
                yield [*follow.take(response)]
                async with self._failing():
                    response = await stream.read()
        except TimeoutError as error:
            raise DeadlineExceeded.of(self.target, self.timeout) from error
        finally:
            stream.cancel()


class AsyncWatch(Generic[Item]):
    """What a watch brings, for `async for`; `async with` around it starts it, and stops it."""

    def __init__(self, batches: AsyncGenerator[list[Any], None]) -> None:
        self._batches = batches
        self._items: list[Item] = []

    async def __aenter__(self) -> Self:
        self._items += await anext(self._batches)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            self._items += await anext(self._batches)
        return self._items.pop(0)

    async def aclose(self) -> None:
        """Stop the watch. Idempotent."""
        await self._batches.aclose()


class AsyncBoardSession(AsyncBoardClient):
    """As BoardSession, for an `async with` block."""

    def __init__(
        self,
        client: AsyncBoardClient,
        worker: str,
        ttl: timedelta | float,
        on_expiry: OnExpiry | str,
        on_lost: Callable[[], None] | None,
    ) -> None:
        vars(self).update(vars(client))
        self.lost = asyncio.Event()
        self._client = client
        self._asked = (worker, ttl, on_expiry)
        self._on_lost = on_lost

    @property
    def session_id(self) -> str:
        """ID of the session; "" before the `async with` block."""
        return self.scope.session_id

    async def __aenter__(self) -> Self:
        opened = await self._client.open_session(*self._asked)
        self.scope = self.scope._replace(session_id=opened.session_id)
        self._renewing = asyncio.create_task(self._renew(opened.ttl))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._renewing.cancel()
        with suppress(asyncio.CancelledError):
            await self._renewing
        # One that has ended is closed; one that the server does not hear of ends by itself.
        with suppress(BoardError):
            await self._client.close_session(self.session_id)

    async def _renew(self, ttl: timedelta) -> None:
        pause = renewal.pause_after_success(ttl)
        client = self._client.within(min(self._client.timeout, renewal.patience(ttl)))
        while True:
            await asyncio.sleep(pause)
            try:
                await client.renew_session(self.session_id)
                pause = renewal.pause_after_success(ttl)
            except SessionExpired:
                self.lost.set()
                if self._on_lost:
                    self._on_lost()
                return
            except BoardError:
                pause = renewal.pause_after_failure(ttl)
