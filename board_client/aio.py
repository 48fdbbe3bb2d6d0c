"""AsyncBoardClient: the board for programs with an event loop."""

import asyncio
import copy
import math
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import grpc

from board_client import calls, renewal
from board_client.arguments import checked
from board_client.calls import Call, Listing, Scope, Stream
from board_client.channel import DEFAULT_TIMEOUT, Connection, metadata
from board_client.credentials import Credentials, Metadata
from board_client.diagnosis import PATIENCE, Diagnosis, explained, unexplained
from board_client.errors import BoardError, ClientClosed, DeadlineExceeded, from_rpc_error
from board_client.methods import presented
from board_client.model import Condition, Event, EventKind, Met, OnExpiry, Snapshot
from board_client.renewal import LEAVING, Lease
from board_client.target import DEFAULT_TARGET
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
    """As BoardClient, with `await` before each call, `async for` and `async with`.

    It may be made anywhere, and belongs to the event loop of its first call: in
    another it raises RuntimeError.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        board: str = "",
        *,
        timeout: float = DEFAULT_TIMEOUT,
        credentials: Credentials | None = None,
    ) -> None:
        self.credentials = credentials or Credentials()
        self.scope = Scope(board)
        self.timeout = timeout
        self._connection = Connection(grpc.aio, target, self.credentials)
        self.target = self._connection.target
        self._diagnosis = Diagnosis(self.target, self.credentials)

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
        return await self._insist(calls.wait_for(self.scope, *conditions), Patience(self.timeout))

    def watch(
        self, *kinds: EventKind | str, after_revision: int | None = None
    ) -> "AsyncWatch[Event]":
        """As BoardClient.watch, to go through with `async for`.

        It stands from its first step on; `async with client.watch() as events`
        makes that step, so that everything from there on is in it.
        """
        follow = self._following(kinds, after_revision=after_revision)
        return AsyncWatch(self._follow(follow))

    def watch_from_snapshot(self, *kinds: EventKind | str) -> "AsyncWatch[Snapshot | Event]":
        """As BoardClient.watch_from_snapshot, to go through with `async for`."""
        return AsyncWatch(self._follow(self._following(kinds, snapshots=True)))

    async def events(self, after_revision: int, until_revision: int) -> list[Event]:
        """As BoardClient.events."""
        follow = self._following((), after_revision=after_revision)
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
        """Close the connection, for every client that shares it. Idempotent.

        A forked process closes nothing: the connection is its parent's.
        """
        for channel in self._connection.closing():
            await channel.close()

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
    async def _failing(self, ends: float) -> AsyncIterator[None]:
        """Raise as BoardErrors what goes wrong with a call that ends by `ends`."""
        try:
            yield
        except grpc.RpcError as error:
            raise await self._failure(error, ends) from None
        except asyncio.CancelledError:
            # Closing cancels the calls that are under way, and not the tasks that wait for them.
            task = asyncio.current_task()
            if self._connection.closed and task and not task.cancelling():
                raise ClientClosed.of(self.target) from None
            raise

    async def _failure(self, error: grpc.RpcError, ends: float) -> BoardError:
        failure = from_rpc_error(error, self.target, self.timeout)
        if failure.reason:
            self._connection.answered()
        if unexplained(failure):
            left = max(0.0, min(PATIENCE, ends - time.monotonic()))
            with suppress(TimeoutError):
                found = asyncio.wrap_future(self._diagnosis.begin())
                return explained(failure, await asyncio.wait_for(found, left))
        return failure

    def _following(self, kinds: Sequence[EventKind | str], **asked: Any) -> Follow:
        return Follow(self.scope, kinds, attempts=self._connection.attempts, **asked)

    async def _send(self, call: Call[T]) -> T:
        return await self._insist(call, Patience(self.timeout, self._connection.attempts))

    async def _collect(self, listing: Listing[T]) -> list[T]:
        """Send one call for each page, all within the time of one."""
        patience = Patience(self.timeout, self._connection.attempts)
        items: list[T] = []
        more = True
        while more:
            page = Call(listing.method, listing.request, lambda r: r)
            response = await self._insist(page, patience)
            items += listing.items(response)
            more = listing.follow(response)
        return items

    async def _assemble(self, stream: Stream[Any, T]) -> T:
        patience = Patience(self.timeout, self._connection.attempts)
        while True:
            try:
                return await self._whole(stream, patience.left())
            except BoardError as error:
                await asyncio.sleep(patience.pause(error))

    async def _whole(self, stream: Stream[Any, T], seconds: float) -> T:
        """Read a stream once, to its end."""
        method = self._connection.method(stream.method)
        async with self._failing(time.monotonic() + seconds):
            parts = [part async for part in method(stream.request, timeout=seconds)]
        self._connection.answered()
        return stream.result(parts)

    async def _insist(self, call: Call[T], patience: Patience) -> T:
        """Send a call, and again while its server is away, as one: a write has one ID."""
        given = metadata(call.method)
        while True:
            try:
                return await self._once(call, patience.left(), given)
            except BoardError as error:
                await asyncio.sleep(patience.pause(error))

    async def _once(self, call: Call[T], seconds: float, given: Metadata = ()) -> T:
        """Send a call once."""
        if call.request is None:
            return call.result(None)
        method = self._connection.method(call.method)
        async with self._failing(time.monotonic() + seconds):
            response = await method(call.request, timeout=seconds, metadata=given)
        self._connection.answered()
        return call.result(response)

    async def _follow(self, follow: Follow) -> AsyncGenerator[list[Any], None]:
        """Yield what each message brings; the first as soon as the watch stands."""
        while True:
            try:
                if follow.needs_snapshot:
                    snapshot = calls.get_snapshot(self.scope)
                    yield [follow.start_from(await self._whole(snapshot, self.timeout))]
                async for batch in self._one_stream(follow):
                    yield batch
            except BoardError as error:
                await asyncio.sleep(follow.pause(error))

    async def _one_stream(self, follow: Follow) -> AsyncGenerator[list[Any], None]:
        stream: Any = self._connection.method("Watch")(follow.request())
        try:
            # The stream has no deadline, its first message has.
            ends = time.monotonic() + self.timeout
            async with self._failing(ends), asyncio.timeout(self.timeout):
                response = await stream.read()
            self._connection.answered()
            while response is not grpc.aio.EOF:
                yield [*follow.take(response)]
                async with self._failing(math.inf):
                    response = await stream.read()
        except TimeoutError:
            raise DeadlineExceeded.of(self.target, self.timeout) from None
        finally:
            stream.cancel()


class AsyncWatch(Generic[Item]):
    """What a watch brings, for `async for`; `async with` around it starts it, and stops it.

    A step that is cancelled, by a timeout say, loses nothing: the next one goes on.
    """

    def __init__(self, batches: AsyncGenerator[list[Any], None]) -> None:
        self._batches = batches
        self._items: list[Item] = []
        self._reading: asyncio.Task[list[Any] | None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._read()
        except BaseException:
            await self.aclose()
            raise
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
            if not await self._read():
                raise StopAsyncIteration
        return self._items.pop(0)

    async def aclose(self) -> None:
        """Stop the watch. Idempotent."""
        reading, self._reading = self._reading, None
        if reading:
            reading.cancel()
            await asyncio.wait({reading})
        await self._batches.aclose()

    def __del__(self) -> None:
        """Stop the watch where nobody did."""
        if reading := getattr(self, "_reading", None):
            with suppress(RuntimeError):  # its event loop is closed
                reading.get_loop().call_soon_threadsafe(reading.cancel)

    async def _read(self) -> bool:
        """Take the next batch; False at the end. The task that reads it outlives cancellations."""
        if not self._reading:
            self._reading = asyncio.create_task(_next(self._batches))
        reading = self._reading
        await asyncio.wait({reading})
        if reading is self._reading:  # nobody else has taken it meanwhile
            self._reading = None
            batch = reading.result()
            self._items += batch or ()
            return batch is not None
        return True


async def _next(batches: AsyncGenerator[list[Any], None]) -> list[Any] | None:
    return await anext(batches, None)


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
        self._errors: list[BoardError] = []  # one, once it is lost; of all copies of this client
        self._client = client
        self._asked = (worker, ttl, on_expiry)
        self._on_lost = on_lost
        self._entered = threading.Lock()
        self._line = 0  # of the last renewal

    @property
    def session_id(self) -> str:
        """ID of the session; "" before the `async with` block."""
        return self.scope.session_id

    @property
    def error(self) -> BoardError | None:
        """Why the session is lost; None before it is."""
        return self._errors[0] if self._errors else None

    async def __aenter__(self) -> Self:
        """Open the session. Raises RuntimeError where that was done before."""
        if not self._entered.acquire(blocking=False):
            raise RuntimeError("a session can be entered once; session() makes another")
        sent = time.monotonic()
        opened = await self._client.open_session(*self._asked)
        self.scope = self.scope._replace(session_id=opened.session_id)
        if time.monotonic() - sent > opened.ttl.total_seconds() / 3:  # which attempt opened it?
            sent = time.monotonic()
            await self._client.renew_session(opened.session_id)
        self._renewing = asyncio.create_task(self._renew(opened.ttl, Lease(opened.ttl, sent)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session; in a forked process leave it alone, for it is the parent's.

        Where the task is cancelled meanwhile, that has `renewal.LEAVING` seconds left.
        """
        if self._connection.forked:
            return
        hurried = self.lost.is_set() or (kind is not None and not issubclass(kind, Exception))
        closing = asyncio.create_task(self._end(hurried))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait({closing}, timeout=LEAVING)
            raise
        finally:
            closing.cancel()

    async def _end(self, hurried: bool) -> None:
        self._renewing.cancel()
        await asyncio.wait({self._renewing})
        client = self._client.within(min(self.timeout, LEAVING)) if hurried else self._client
        # One that has ended is closed; one that the server does not hear of expires.
        with suppress(BoardError):
            await client.close_session(self.session_id)

    async def _renew(self, ttl: timedelta, lease: Lease) -> None:
        """Renew the session until its block ends or it is lost."""
        error: BoardError | None = None
        renewals: set[asyncio.Task[BoardError | None]] = set()
        try:
            while not (error or lease.lost()):
                if lease.due():
                    renewals.add(self._send_renewal(lease))
                if not renewals:
                    await asyncio.sleep(lease.pause())
                    continue
                done, renewals = await asyncio.wait(
                    renewals, timeout=lease.pause(), return_when=asyncio.FIRST_COMPLETED
                )
                for renewed in done:
                    error = renewed.result() or error
        except Exception as unexpected:  # whatever it is, nobody renews the session any more
            error = renewal.unrenewed(self.session_id, ttl)
            error.__cause__ = unexpected
        finally:
            for renewing in renewals:
                renewing.cancel()
        self._errors.append(error or renewal.unrenewed(self.session_id, ttl))
        self.lost.set()
        if self._on_lost:
            self._on_lost()

    def _send_renewal(self, lease: Lease) -> "asyncio.Task[BoardError | None]":
        """Send a renewal; its task returns why the session is lost, if the answer says so."""
        if lease.unanswered:
            self._connection.switch(self._line)
        self._line = self._connection.line
        seconds, sent = lease.left(), lease.sent()

        async def renew() -> BoardError | None:
            try:
                await self._once(calls.renew_session(self.scope, self.session_id), seconds)
            except BoardError as error:
                return lease.take(sent, error)
            return lease.take(sent, None)

        return asyncio.create_task(renew())
