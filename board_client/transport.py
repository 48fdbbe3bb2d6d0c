"""Transport: sends the calls of a BoardClient, and blocks until they end."""

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import TimeoutError as TimedOut
from contextlib import closing, contextmanager, suppress
from typing import Any, ClassVar, TypeVar

import grpc

from board_client import calls
from board_client.backoff import Retry
from board_client.calls import Call, Listing, Stream
from board_client.channel import metadata
from board_client.credentials import Metadata
from board_client.diagnosis import PATIENCE, explained, unexplained
from board_client.endpoint import Endpoint
from board_client.errors import BoardError, ClientClosed, DeadlineExceeded, from_rpc_error
from board_client.model import Event, EventKindLike, Snapshot
from board_client.watch import Follow

T = TypeVar("T")
Item = TypeVar("Item")

Watch = Generator[Item, None, None]
"""The items of a watch, as they happen."""


class Transport(Endpoint):
    """Sends calls, retries them, and raises their failures as BoardErrors."""

    channels: ClassVar[Any] = grpc

    def send(self, call: Call[T]) -> T:
        """Send a call, and retry it while the server is unavailable."""
        return self.persist(call, self.retry())

    def collect(self, listing: Listing[T]) -> list[T]:
        """Send one call for each page, all within the time of one."""
        retry = self.retry()
        items: list[T] = []
        more = True
        while more:
            page = Call(listing.method, listing.request, lambda r: r)
            response = self.persist(page, retry)
            items += listing.items(response)
            more = listing.follow(response)
        return items

    def assemble(self, stream: Stream[Any, T]) -> T:
        """Send a call whose response has several parts; return their joint result."""
        return self.send(_whole(stream))

    def persist(self, call: Call[T], retry: Retry) -> T:
        """Send a call as often as `retry` allows; all attempts have one idempotency key."""
        given = metadata(call.method)
        while True:
            try:
                return self.once(call, retry.left(), given)
            except BoardError as error:
                time.sleep(retry.pause(error))

    def once(self, call: Call[T], seconds: float, given: Metadata = ()) -> T:
        """Send a call once. Raises its failure, without gRPC's own error as its context."""
        if call.request is None:
            return call.result(None)
        ends = time.monotonic() + seconds
        method = self.connection.method(call.method)
        with self._failing(ends):
            result = call.result(method(call.request, timeout=seconds, metadata=given))
        self.connection.answered()
        return result

    def begin(
        self, call: Call[T], seconds: float, done: Callable[[BoardError | None], None]
    ) -> None:
        """Send a call once and do not wait; gRPC's thread calls `done` with its failure."""
        method = self.connection.method(call.method)
        try:
            answer = method.future(call.request, timeout=seconds)
        except ValueError:  # gRPC's, for a channel that another thread closes at this moment
            raise ClientClosed.of(self.connection.target) from None
        answer.add_done_callback(lambda answer: done(self._failure_of(answer)))

    def watch(
        self, kinds: Sequence[EventKindLike], after_revision: int | None
    ) -> Generator[Event, None, None]:
        """Start a watch; return its events."""
        return _started(self._batches(self.follow(kinds, after_revision=after_revision)), Event)

    def watch_from_snapshot(
        self, kinds: Sequence[EventKindLike]
    ) -> Generator[Snapshot | Event, None, None]:
        """Start a watch with a snapshot; return both."""
        return _started(self._batches(self.follow(kinds, snapshots=True)), Snapshot | Event)

    def events(self, after_revision: int, until_revision: int) -> list[Event]:
        """Return the events after one revision, up to and including another."""
        follow = self.follow(after_revision=after_revision)
        events: list[Event] = []
        with closing(self._batches(follow)) as batches:
            while follow.revision < until_revision:
                events += (event for event in next(batches) if isinstance(event, Event))
        return [event for event in events if event.revision <= until_revision]

    def close(self) -> None:
        """Close the connection, for every transport that shares it."""
        for channel in self.connection.closing():
            channel.close()

    @contextmanager
    def _failing(self, ends: float) -> Generator[None, None, None]:
        """Raise the failures of a call that ends by `ends` as BoardErrors."""
        try:
            yield
        except grpc.RpcError as error:
            raise self._failure(error, ends) from None
        except ValueError:  # gRPC's, for a channel that another thread closes at this moment
            if self.connection.closed:
                raise ClientClosed.of(self.connection.target) from None
            raise

    def _failure(self, error: grpc.RpcError, ends: float) -> BoardError:
        """Read the error of a call that ends by `ends`, and look for its cause until then."""
        failure = self._read(error)
        if unexplained(failure):
            left = max(0.0, min(PATIENCE, ends - time.monotonic()))
            with suppress(TimedOut):
                return explained(failure, self.diagnosis.begin().result(left))
        return failure

    def _read(self, error: grpc.RpcError) -> BoardError:
        target = self.connection.target
        if self.connection.closed and error.code() is grpc.StatusCode.CANCELLED:
            return ClientClosed.of(target)
        failure = from_rpc_error(error, target, self.timeout)
        if failure.reason:
            self.connection.answered()
        return failure

    def _failure_of(self, answer: Any) -> BoardError | None:
        return None if answer.code() is grpc.StatusCode.OK else self._read(answer)

    def _batches(self, follow: Follow) -> Generator[list[Snapshot | Event], None, None]:
        """Yield the items of each message; the first batch as soon as the watch has started."""
        while True:
            try:
                if follow.needs_snapshot:
                    snapshot = _whole(calls.get_snapshot(self.scope))
                    yield [follow.start_from(self.once(snapshot, self.timeout))]
                yield from self._one_stream(follow)
            except BoardError as error:
                time.sleep(follow.pause(error))

    def _one_stream(self, follow: Follow) -> Generator[list[Snapshot | Event], None, None]:
        ends = time.monotonic() + self.timeout
        with self._failing(ends):
            stream: Any = self.connection.method("Watch")(follow.request())
        # The stream has no deadline, but its first message has.
        late = threading.Timer(self.timeout, stream.cancel)
        late.start()
        started = False
        try:
            for response in stream:
                late.cancel()
                started, ends = True, math.inf
                self.connection.answered()
                yield [*follow.take(response)]
        except grpc.RpcError as error:
            cancelled = stream.code() is grpc.StatusCode.CANCELLED
            late_answer = cancelled and not (started or self.connection.closed)
            raise (
                DeadlineExceeded.of(self.connection.target, self.timeout)
                if late_answer
                else self._failure(error, ends)
            ) from None
        finally:
            if not self.connection.forked:  # the stream and its locks are the parent's
                late.cancel()
                stream.cancel()


def _started(
    batches: Generator[list[Snapshot | Event], None, None],
    wanted: Any,  # a class, or a union of classes
) -> Generator[Any, None, None]:
    """Return the items of all batches, having waited for the first batch."""
    first = next(batches)

    def flat() -> Iterator[Any]:
        try:
            yield from first
            for batch in batches:
                yield from batch
        finally:
            batches.close()

    return (item for item in flat() if isinstance(item, wanted))


def _whole(stream: Stream[Any, T]) -> Call[T]:
    """Return a call that reads a stream to its end."""
    return Call(stream.method, stream.request, lambda parts: stream.result(list(parts)))
