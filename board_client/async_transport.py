"""AsyncTransport: sends the calls of an AsyncBoardClient."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, ClassVar, TypeVar

import grpc.aio

from board_client import calls
from board_client.async_watch import AsyncWatch
from board_client.backoff import Retry
from board_client.calls import Call, Listing, Stream
from board_client.channel import metadata
from board_client.credentials import Metadata
from board_client.diagnosis import PATIENCE, explained, unexplained
from board_client.endpoint import Endpoint
from board_client.errors import BoardError, ClientClosed, DeadlineExceeded, from_rpc_error
from board_client.model import Event, EventKindLike, Snapshot
from board_client.watch import Follow

__all__ = ["AsyncTransport", "AsyncWatch"]

T = TypeVar("T")


class AsyncTransport(Endpoint):
    """Sends calls, retries them, and raises their failures as BoardErrors."""

    channels: ClassVar[Any] = grpc.aio

    async def send(self, call: Call[T]) -> T:
        """Send a call, and retry it while the server is unavailable."""
        return await self.persist(call, self.retry())

    async def collect(self, listing: Listing[T]) -> list[T]:
        """Send one call for each page, all within the time of one."""
        retry = self.retry()
        items: list[T] = []
        more = True
        while more:
            page = Call(listing.method, listing.request, lambda r: r)
            response = await self.persist(page, retry)
            items += listing.items(response)
            more = listing.follow(response)
        return items

    async def assemble(self, stream: Stream[Any, T]) -> T:
        """Send a call whose response has several parts; return their joint result."""
        retry = self.retry()
        while True:
            try:
                return await self._whole(stream, retry.left())
            except BoardError as error:
                await asyncio.sleep(retry.pause(error))

    async def persist(self, call: Call[T], retry: Retry) -> T:
        """Send a call as often as `retry` allows; all attempts have one idempotency key."""
        given = metadata(call.method)
        while True:
            try:
                return await self.once(call, retry.left(), given)
            except BoardError as error:
                await asyncio.sleep(retry.pause(error))

    async def once(self, call: Call[T], seconds: float, given: Metadata = ()) -> T:
        """Send a call once."""
        if call.request is None:
            return call.result(None)
        method = self.connection.method(call.method)
        async with self._failing(time.monotonic() + seconds):
            response = await method(call.request, timeout=seconds, metadata=given)
        self.connection.answered()
        return call.result(response)

    def watch(
        self, kinds: Sequence[EventKindLike], after_revision: int | None
    ) -> AsyncWatch[Event]:
        """Return a watch's events; its first step starts it."""
        return AsyncWatch(self._batches(self.follow(kinds, after_revision=after_revision)))

    def watch_from_snapshot(self, kinds: Sequence[EventKindLike]) -> AsyncWatch[Snapshot | Event]:
        """Return a snapshot and the events after it; the first step starts the watch."""
        return AsyncWatch(self._batches(self.follow(kinds, snapshots=True)))

    async def events(self, after_revision: int, until_revision: int) -> list[Event]:
        """Return the events after one revision, up to and including another."""
        follow = self.follow(after_revision=after_revision)
        events: list[Event] = []
        async with aclosing(self._batches(follow)) as batches:
            while follow.revision < until_revision:
                events += await anext(batches)
        return [event for event in events if event.revision <= until_revision]

    async def close(self) -> None:
        """Close the connection, for every transport that shares it."""
        for channel in self.connection.closing():
            await channel.close()

    @asynccontextmanager
    async def _failing(self, ends: float) -> AsyncIterator[None]:
        """Raise the failures of a call that ends by `ends` as BoardErrors."""
        try:
            yield
        except grpc.RpcError as error:
            raise await self._failure(error, ends) from None
        except asyncio.CancelledError:
            # Closing a channel cancels its calls, but not the tasks that wait for them.
            task = asyncio.current_task()
            if self.connection.closed and task and not task.cancelling():
                raise ClientClosed.of(self.connection.target) from None
            raise

    async def _failure(self, error: grpc.RpcError, ends: float) -> BoardError:
        """Read the error of a call that ends by `ends`, and look for its cause until then."""
        failure = from_rpc_error(error, self.connection.target, self.timeout)
        if failure.reason:
            self.connection.answered()
        if unexplained(failure):
            left = max(0.0, min(PATIENCE, ends - time.monotonic()))
            with suppress(TimeoutError):
                found = asyncio.wrap_future(self.diagnosis.begin())
                return explained(failure, await asyncio.wait_for(found, left))
        return failure

    async def _whole(self, stream: Stream[Any, T], seconds: float) -> T:
        """Read a stream once, to its end."""
        method = self.connection.method(stream.method)
        async with self._failing(time.monotonic() + seconds):
            parts = [part async for part in method(stream.request, timeout=seconds)]
        self.connection.answered()
        return stream.result(parts)

    async def _batches(self, follow: Follow) -> AsyncGenerator[list[Any], None]:
        """Yield the items of each message; the first batch as soon as the watch has started."""
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
        stream: Any = self.connection.method("Watch")(follow.request())
        try:
            # The stream has no deadline, but its first message has.
            ends = time.monotonic() + self.timeout
            async with self._failing(ends), asyncio.timeout(self.timeout):
                response = await stream.read()
            self.connection.answered()
            while response is not grpc.aio.EOF:
                yield [*follow.take(response)]
                async with self._failing(math.inf):
                    response = await stream.read()
        except TimeoutError:
            raise DeadlineExceeded.of(self.connection.target, self.timeout) from None
        finally:
            stream.cancel()
