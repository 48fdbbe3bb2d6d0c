"""BoardClient: the board for programs without an event loop."""

import copy
import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import TimeoutError as TimedOut
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

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


def _one(
    build: Callable[Concatenate[Scope, P], Call[T]],
) -> "Callable[Concatenate[BoardClient, P], T]":
    request = checked(build)

    def method(self: "BoardClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._send(request(self.scope, *args, **kwargs))

    return presented(method, build, "BoardClient")


def _all(
    build: Callable[Concatenate[Scope, P], Listing[T]],
) -> "Callable[Concatenate[BoardClient, P], list[T]]":
    request = checked(build)

    def method(self: "BoardClient", /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        return self._collect(request(self.scope, *args, **kwargs))

    return presented(method, build, "BoardClient")


def _parts(
    build: Callable[Concatenate[Scope, P], Stream[Any, T]],
) -> "Callable[Concatenate[BoardClient, P], T]":
    request = checked(build)

    def method(self: "BoardClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._assemble(request(self.scope, *args, **kwargs))

    return presented(method, build, "BoardClient")


class BoardClient:
    """A connection to one board of a server; safe to share between threads.

    `target` is `HOST:PORT`, `HOST` (port 7447) or `unix:PATH`, `board` a name (""
    for the server's default board), `timeout` the seconds that a call may take,
    `credentials` what a server wants that is not open to everybody. Nothing is
    sent before the first call; a new board needs `open_board()` once. Calls raise
    the kinds of `BoardError`, credentials that cannot be used BadCredentials at
    once. A call is retried for 3 s while the server is unavailable, and for 0.3 s
    where none on this machine has answered yet. Proxies are never used. Close the
    client, or use it in a `with` block. A process that is forked makes its own.
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
        self._connection = Connection(grpc, target, self.credentials)
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

    def wait_for(self, *conditions: Condition) -> Met:
        """Return as soon as all the conditions hold at one revision.

        The client's timeout bounds the wait: `client.within(300).wait_for(...)`
        raises DeadlineExceeded after five minutes. A server that goes away and
        comes back meanwhile is waited for too.
        """
        return self._insist(calls.wait_for(self.scope, *conditions), Patience(self.timeout))

    def watch(
        self, *kinds: EventKind | str, after_revision: int | None = None
    ) -> Generator[Event, None, None]:
        """Return the board's events as they happen: each once, in order, without end.

        Everything that happens after this call (or after `after_revision`) is
        in it. A connection that breaks is resumed without gap or repeat. Raises
        RevisionCompacted or BoardReplaced where that cannot be done; then
        `watch_from_snapshot` can. Leave the loop, or close() it, to stop.
        """
        follow = self._following(kinds, after_revision=after_revision)
        return self._started(self._follow(follow), Event)

    def watch_from_snapshot(
        self, *kinds: EventKind | str
    ) -> Generator[Snapshot | Event, None, None]:
        """Return a snapshot, and the events after it as they happen.

        Another snapshot comes, and replaces all before it, where the events in
        between are no longer to be had.
        """
        follow = self._following(kinds, snapshots=True)
        return self._started(self._follow(follow), Snapshot | Event)

    def events(self, after_revision: int, until_revision: int) -> list[Event]:
        """Return the events after one revision, up to and with one that the board has reached.

        Raises as `watch` does where they are no longer to be had.
        """
        follow = self._following((), after_revision=after_revision)
        events: list[Event] = []
        with closing(self._follow(follow)) as batches:
            while follow.revision < until_revision:
                events += (event for event in next(batches) if isinstance(event, Event))
        return [event for event in events if event.revision <= until_revision]

    def session(
        self,
        worker: str,
        ttl: timedelta | float = 30.0,
        on_expiry: OnExpiry | str = OnExpiry.FAIL,
        *,
        on_lost: Callable[[], None] | None = None,
    ) -> "BoardSession":
        """Return a session, open for the time of a `with` block and renewed in the background.

        It is a client whose calls belong to the session. `ttl` is a timedelta
        or seconds. `on_lost` is called, from another thread, once it is lost.
        """
        return BoardSession(self, worker, ttl, on_expiry, on_lost)

    def on(self, board: str) -> Self:
        """Return a client of another board that shares this one's connection."""
        return self._with(scope=Scope(board))

    def in_session(self, session_id: str) -> Self:
        """Return a client whose calls belong to a session that someone else renews."""
        return self._with(scope=Scope(self.board, session_id))

    def within(self, timeout: float) -> Self:
        """Return a client whose calls may take `timeout` seconds, on the same connection."""
        return self._with(timeout=timeout)

    def close(self) -> None:
        """Close the connection, for every client that shares it. Idempotent.

        A forked process closes nothing: the connection is its parent's.
        """
        for channel in self._connection.closing():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _with(self, **changed: object) -> Self:
        other = copy.copy(self)
        vars(other).update(changed)
        return other

    @contextmanager
    def _failing(self, ends: float) -> Generator[None, None, None]:
        """Raise as BoardErrors what goes wrong with a call that ends by `ends`."""
        try:
            yield
        except grpc.RpcError as error:
            raise self._failure(error, ends) from None
        except ValueError:  # gRPC's, for a channel that is closed at this moment
            if self._connection.closed:
                raise ClientClosed.of(self.target) from None
            raise

    def _failure(self, error: grpc.RpcError, ends: float) -> BoardError:
        """Read the error of a call that ends by `ends`, and look into its cause until then."""
        failure = self._read(error)
        if unexplained(failure):
            left = max(0.0, min(PATIENCE, ends - time.monotonic()))
            with suppress(TimedOut):
                return explained(failure, self._diagnosis.begin().result(left))
        return failure

    def _read(self, error: grpc.RpcError) -> BoardError:
        if self._connection.closed and error.code() is grpc.StatusCode.CANCELLED:
            return ClientClosed.of(self.target)
        failure = from_rpc_error(error, self.target, self.timeout)
        if failure.reason:
            self._connection.answered()
        return failure

    def _following(self, kinds: Sequence[EventKind | str], **asked: Any) -> Follow:
        return Follow(self.scope, kinds, attempts=self._connection.attempts, **asked)

    def _send(self, call: Call[T]) -> T:
        return self._insist(call, Patience(self.timeout, self._connection.attempts))

    def _collect(self, listing: Listing[T]) -> list[T]:
        """Send one call for each page, all within the time of one."""
        patience = Patience(self.timeout, self._connection.attempts)
        items: list[T] = []
        more = True
        while more:
            page = Call(listing.method, listing.request, lambda r: r)
            response = self._insist(page, patience)
            items += listing.items(response)
            more = listing.follow(response)
        return items

    def _assemble(self, stream: Stream[Any, T]) -> T:
        return self._send(_whole(stream))

    def _insist(self, call: Call[T], patience: Patience) -> T:
        """Send a call, and again while its server is away, as one: a write has one ID."""
        given = metadata(call.method)
        while True:
            try:
                return self._once(call, patience.left(), given)
            except BoardError as error:
                time.sleep(patience.pause(error))

    def _once(self, call: Call[T], seconds: float, given: Metadata = ()) -> T:
        """Send a call once. Raises its failure, without gRPC's own error before it."""
        if call.request is None:
            return call.result(None)
        ends = time.monotonic() + seconds
        method = self._connection.method(call.method)
        with self._failing(ends):
            result = call.result(method(call.request, timeout=seconds, metadata=given))
        self._connection.answered()
        return result

    def _follow(self, follow: Follow) -> Generator[list[Snapshot | Event], None, None]:
        """Yield what each message brings; the first as soon as the watch stands."""
        while True:
            try:
                if follow.needs_snapshot:
                    snapshot = _whole(calls.get_snapshot(self.scope))
                    yield [follow.start_from(self._once(snapshot, self.timeout))]
                yield from self._one_stream(follow)
            except BoardError as error:
                time.sleep(follow.pause(error))

    def _one_stream(self, follow: Follow) -> Generator[list[Snapshot | Event], None, None]:
        ends = time.monotonic() + self.timeout
        with self._failing(ends):
            stream: Any = self._connection.method("Watch")(follow.request())
        # The stream has no deadline, its first message has.
        late = threading.Timer(self.timeout, stream.cancel)
        late.start()
        stands = False
        try:
            for response in stream:
                late.cancel()
                stands, ends = True, math.inf
                self._connection.answered()
                yield [*follow.take(response)]
        except grpc.RpcError as error:
            cancelled = stream.code() is grpc.StatusCode.CANCELLED
            late_answer = cancelled and not (stands or self._connection.closed)
            raise (
                DeadlineExceeded.of(self.target, self.timeout)
                if late_answer
                else self._failure(error, ends)
            ) from None
        finally:
            if not self._connection.forked:  # the stream and its locks are the parent's
                late.cancel()
                stream.cancel()

    @staticmethod
    def _started(
        batches: Generator[list[Snapshot | Event], None, None],
        wanted: Any,  # a class, or a union of classes
    ) -> Generator[Any, None, None]:
        """Make one iterator of them, which stands before it is first asked."""
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
    """Make one call of a stream whose parts are read to the last."""
    return Call(stream.method, stream.request, lambda parts: stream.result(list(parts)))


class BoardSession(BoardClient):
    """A client whose calls belong to a session, open for the time of a `with` block.

    `lost` is set, and `error` says why, once the session has ended on the server,
    can no longer be renewed, or may have expired by this machine's clock: one ttl
    after the last answered renewal was sent. Its work may be another's then; drop
    it. At the end of the block the session is closed, and with it all that is
    still bound to it: complete the phases first. A session can be entered once.
    """

    def __init__(
        self,
        client: BoardClient,
        worker: str,
        ttl: timedelta | float,
        on_expiry: OnExpiry | str,
        on_lost: Callable[[], None] | None,
    ) -> None:
        vars(self).update(vars(client))
        self.lost = threading.Event()
        self._errors: list[BoardError] = []  # one, once it is lost; of all copies of this client
        self._client = client
        self._asked = (worker, ttl, on_expiry)
        self._on_lost = on_lost
        self._entered = threading.Lock()
        self._line = 0  # of the last renewal
        # What the renewing thread waits for: answers, and None at the end of the block.
        self._answers: queue.SimpleQueue[tuple[float, BoardError | None] | None]
        self._answers = queue.SimpleQueue()

    @property
    def session_id(self) -> str:
        """ID of the session; "" before the `with` block."""
        return self.scope.session_id

    @property
    def error(self) -> BoardError | None:
        """Why the session is lost; None before it is."""
        return self._errors[0] if self._errors else None

    def __enter__(self) -> Self:
        """Open the session. Raises RuntimeError where that was done before."""
        if not self._entered.acquire(blocking=False):
            raise RuntimeError("a session can be entered once; session() makes another")
        sent = time.monotonic()
        opened = self._client.open_session(*self._asked)
        self.scope = self.scope._replace(session_id=opened.session_id)
        if time.monotonic() - sent > opened.ttl.total_seconds() / 3:  # which attempt opened it?
            sent = time.monotonic()
            self._client.renew_session(opened.session_id)
        self._renewing = threading.Thread(
            target=self._renew,
            args=(opened.ttl, Lease(opened.ttl, sent)),
            name=f"session {opened.worker}",
            daemon=True,
        )
        self._renewing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session; in a forked process leave it alone, for it is the parent's."""
        if self._connection.forked:
            return
        self._answers.put(None)
        self._renewing.join()
        hurried = self.lost.is_set() or (kind is not None and not issubclass(kind, Exception))
        client = self._client.within(min(self.timeout, LEAVING)) if hurried else self._client
        # One that has ended is closed; one that the server does not hear of expires.
        with suppress(BoardError):
            client.close_session(self.session_id)

    def _renew(self, ttl: timedelta, lease: Lease) -> None:
        """Renew the session until its block ends or it is lost."""
        error: BoardError | None = None
        try:
            while not (error or lease.lost()):
                if lease.due():
                    error = self._send_renewal(lease)
                    continue
                with suppress(queue.Empty):
                    answer = self._answers.get(timeout=lease.pause())
                    if answer is None:
                        return
                    error = lease.take(*answer)
        except Exception as unexpected:  # whatever it is, nobody renews the session any more
            error = renewal.unrenewed(self.session_id, ttl)
            error.__cause__ = unexpected
        self._errors.append(error or renewal.unrenewed(self.session_id, ttl))
        self.lost.set()
        if self._on_lost:
            self._on_lost()

    def _send_renewal(self, lease: Lease) -> BoardError | None:
        """Send a renewal whose answer comes to `_answers`, and do not wait for it."""
        if lease.unanswered:
            self._connection.switch(self._line)
        self._line = self._connection.line
        call = calls.renew_session(self.scope, self.session_id)
        seconds, sent = lease.left(), lease.sent()  # before it is sent, and never after
        try:
            method = self._connection.method(call.method)
            answer = method.future(call.request, timeout=seconds)
        except BoardError as error:  # a client that is closed; a token that is gone
            return lease.take(sent, error)
        except ValueError:  # gRPC's, for a channel that is closed at this moment
            return ClientClosed.of(self.target)
        answer.add_done_callback(lambda answer: self._answers.put((sent, self._answer(answer))))
        return None

    def _answer(self, answer: Any) -> BoardError | None:
        """Return the error of a renewal that was answered with one."""
        return None if answer.code() is grpc.StatusCode.OK else self._read(answer)
