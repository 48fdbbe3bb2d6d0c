"""BoardClient: the board for programs without an event loop."""

import copy
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

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

    `target` is `HOST:PORT` or `unix:PATH`, `board` a name ("" for the server's
    default board), `timeout` the seconds that a call may take, `credentials`
    what a server wants that is not open to everybody. Nothing is sent before
    the first call; a new board needs `open_board()` once. Calls raise the kinds
    of `BoardError`, credentials that cannot be used BadCredentials at once.
    Retries on UNAVAILABLE are built in. Close it, or use it in a `with` block.
    """

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
        self._connection = Connection(grpc, target, self.credentials)

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
        follow = Follow(self.scope, kinds, after_revision=after_revision)
        return self._started(self._follow(follow), Event)

    def watch_from_snapshot(
        self, *kinds: EventKind | str
    ) -> Generator[Snapshot | Event, None, None]:
        """Return a snapshot, and the events after it as they happen.

        Another snapshot comes, and replaces all before it, where the events in
        between are no longer to be had.
        """
        follow = Follow(self.scope, kinds, snapshots=True)
        return self._started(self._follow(follow), Snapshot | Event)

    def events(self, after_revision: int, until_revision: int) -> list[Event]:
        """Return the events after one revision, up to and with one that the board has reached.

        Raises as `watch` does where they are no longer to be had.
        """
        follow = Follow(self.scope, after_revision=after_revision)
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
        or seconds. `on_lost` is called, from another thread, should it expire.
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
        """Close the connection, for every client that shares it. Idempotent."""
        self._connection.close()

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

    def _failure(self, error: grpc.RpcError) -> BoardError:
        if self._connection.closed and error.code() is grpc.StatusCode.CANCELLED:
            return ClientClosed.of(self.target)
        told = from_rpc_error(error, self.target, self.timeout)
        return explained(told, self.target, self.credentials) if unexplained(told) else told

    def _send(self, call: Call[T], seconds: float | None = None) -> T:
        if call.request is None:
            return call.result(None)
        timeout = self.timeout if seconds is None else seconds
        try:
            method = self._connection.method(call.method)
            return call.result(
                method(call.request, timeout=timeout, metadata=metadata(call.method))
            )
        except grpc.RpcError as error:
            raise self._failure(error) from error

    def _collect(self, listing: Listing[T]) -> list[T]:
        items: list[T] = []
        more = True
        while more:
            response = self._send(Call(listing.method, listing.request, lambda r: r))
            items += listing.items(response)
            more = listing.follow(response)
        return items

    def _assemble(self, stream: Stream[Any, T]) -> T:
        call = Call(stream.method, stream.request, lambda r: stream.result(list(r)))
        return self._insist(call, Patience(self.timeout, MAX_ATTEMPTS))

    def _insist(self, call: Call[T], patience: Patience) -> T:
        """Send a call again for as long as patience lasts."""
        while True:
            try:
                return self._send(call, patience.left())
            except BoardError as error:
                time.sleep(patience.pause(error))

    def _follow(self, follow: Follow) -> Generator[list[Snapshot | Event], None, None]:
        """Yield what each message brings; the first as soon as the watch stands."""
        while True:
            try:
                if follow.needs_snapshot:
                    yield [follow.start_from(self.get_snapshot())]
                yield from self._one_stream(follow)
            except BoardError as error:
                time.sleep(follow.pause(error))

    def _one_stream(self, follow: Follow) -> Generator[list[Snapshot | Event], None, None]:
        stream: Any = self._connection.method("Watch")(follow.request())
        # The stream has no deadline, its first message has.
        late = threading.Timer(self.timeout, stream.cancel)
        late.start()
        stands = False
        try:
            for response in stream:
                late.cancel()
                stands = True
                yield [*follow.take(response)]
        except grpc.RpcError as error:
            cancelled = stream.code() is grpc.StatusCode.CANCELLED
            late_answer = cancelled and not (stands or self._connection.closed)
            raise (
                DeadlineExceeded.of(self.target, self.timeout)
                if late_answer
                else self._failure(error)
            ) from error
        finally:
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


class BoardSession(BoardClient):
    """A client whose calls belong to a session, open for the time of a `with` block.

    `lost` is set should the session expire: the work that it stands for was
    handed on, drop it. At the end of the block the session is closed, and with
    it all that is still bound to it: complete the phases first.
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
        self._client = client
        self._asked = (worker, ttl, on_expiry)
        self._on_lost = on_lost
        self._over = threading.Event()

    @property
    def session_id(self) -> str:
        """ID of the session; "" before the `with` block."""
        return self.scope.session_id

    def __enter__(self) -> Self:
        opened = self._client.open_session(*self._asked)
        self.scope = self.scope._replace(session_id=opened.session_id)
        self._renewing = threading.Thread(
            target=self._renew, args=(opened.ttl,), name=f"session {opened.worker}", daemon=True
        )
        self._renewing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._renewing.join()
        # One that has ended is closed; one that the server does not hear of ends by itself.
        with suppress(BoardError):
            self._client.close_session(self.session_id)

    def _renew(self, ttl: timedelta) -> None:
        pause = renewal.pause_after_success(ttl)
        client = self._client.within(min(self._client.timeout, renewal.patience(ttl)))
        while not self._over.wait(pause):
            try:
                client.renew_session(self.session_id)
                pause = renewal.pause_after_success(ttl)
            except SessionExpired:
                self.lost.set()
                if self._on_lost:
                    self._on_lost()
                return
            except BoardError:
                pause = renewal.pause_after_failure(ttl)
