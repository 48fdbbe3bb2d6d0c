"""BoardClient: the board for programs without an event loop."""

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from board_client import calls, renewal
from board_client.board import Board
from board_client.calls import Scope
from board_client.channel import DEFAULT_TIMEOUT
from board_client.credentials import Credentials
from board_client.environment import options_from
from board_client.errors import BoardError
from board_client.model import OnExpiry, OnExpiryLike
from board_client.renewal import LEAVING, Lease
from board_client.target import DEFAULT_TARGET
from board_client.transport import Transport


class BoardClient(Board):
    """A connection to one board of a server; safe to share between threads.

    `target` is `HOST:PORT`, `HOST` (port 7447) or `unix:PATH`. `board` is a name,
    "" for the server's default board; a new board needs `open_board()` once.
    `session_id` is the session that the calls belong to, `phase_id` the phase that
    this process works on. `timeout` is the seconds that a call may take, at most a
    year. `credentials` are for servers that require TLS or a token.

    Nothing is sent before the first call. Calls raise subclasses of BoardError;
    credentials that cannot be used raise BadCredentials at once. A call is retried
    for 3 s while the server is unavailable, and for 0.3 s if no server on this
    machine has answered yet. Proxies are never used. Close the client, or use it in
    a `with` block. A forked process must make its own client.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        board: str = "",
        *,
        session_id: str = "",
        phase_id: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        credentials: Credentials | None = None,
    ) -> None:
        self.credentials = credentials or Credentials()
        scope = Scope(board, session_id)
        super().__init__(Transport.to(target, scope, phase_id, timeout, self.credentials))

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, *, timeout: float = DEFAULT_TIMEOUT
    ) -> Self:
        """Return a client with the options that the environment gives.

        BOARD_TARGET, BOARD_NAME, BOARD_SESSION and BOARD_PHASE (or QUASAR_TASK_ID) are
        the target, the board, the session and the phase; `board run` sets them for its
        command. The credentials are those of `Credentials.from_environment`. A variable
        that is not set, or empty, leaves its option at the default.
        """
        return cls(**options_from(environment), timeout=timeout)

    def session(
        self,
        worker: str,
        ttl: timedelta | float = 30.0,
        on_expiry: OnExpiryLike = OnExpiry.FAIL,
        *,
        on_lost: Callable[[], None] | None = None,
    ) -> "BoardSession":
        """Return a session that a `with` block opens, renews in the background and closes.

        Its calls belong to the session. `ttl` is a timedelta or a number of seconds:
        1 s to 24 h. `on_lost` is called once the session is lost, from another thread.
        """
        renewing = _Renewing(self._transport, worker, ttl, on_expiry, on_lost)
        return BoardSession(self._transport, renewing)

    def with_options(
        self,
        *,
        board: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Return a client with other options that shares this one's connection.

        Options that are not given stay as they are, except that another board has
        neither a session nor a phase. `session_id` is that of a session that someone
        else renews. Closing either client closes the connection.
        """
        return self._with(self._transport.with_options(board, session_id, timeout))

    def close(self) -> None:
        """Close the connection, for every client and session that shares it. Idempotent.

        In a forked process the connection stays open: it is the parent's.
        """
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class BoardSession(Board):
    """The calls of one board within a session, which is open for the time of a `with` block.

    `lost` is set, and `error` has the reason, once the session has ended on the
    server, can no longer be renewed, or may have expired by this machine's clock:
    one ttl after the last answered renewal was sent. Another worker may have its
    work then; drop it. The end of the block closes the session, which ends its
    running phases and releases its files: complete the phases first. A session can be
    entered once.
    """

    def __init__(self, transport: Transport, renewing: "_Renewing") -> None:
        super().__init__(transport)
        self._renewing = renewing

    @property
    def scope(self) -> Scope:
        """Board and session of the calls."""
        return super().scope._replace(session_id=self._renewing.session_id)

    @property
    def lost(self) -> threading.Event:
        """Event that is set once the session is lost."""
        return self._renewing.lost

    @property
    def error(self) -> BoardError | None:
        """Why the session is lost; None if it is not."""
        return self._renewing.error

    def with_options(self, *, timeout: float) -> Self:
        """Return the same session, with calls that may take `timeout` seconds."""
        return self._with(self._transport.with_options(timeout=timeout))

    def __enter__(self) -> Self:
        """Open the session. Raises RuntimeError if it was entered before."""
        self._renewing.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session; in a forked process leave it open, for it is the parent's.

        Raises RuntimeError if the session was not entered.
        """
        self._renewing.close(interrupted=kind is not None and not issubclass(kind, Exception))


class _Renewing:
    """One session, from its opening to its closing, and the thread that renews it."""

    def __init__(
        self,
        transport: Transport,
        worker: str,
        ttl: timedelta | float,
        on_expiry: OnExpiryLike,
        on_lost: Callable[[], None] | None,
    ) -> None:
        self._transport = transport
        self.session_id = ""
        self.lost = threading.Event()
        self.error: BoardError | None = None
        self._arguments = (worker, ttl, on_expiry)
        self._on_lost = on_lost
        self._entered = threading.Lock()
        self._thread: threading.Thread | None = None
        self._channel = 0  # index of the channel of the last renewal
        # What the thread waits for: answers, and None at the end of the block.
        self._answers: queue.SimpleQueue[tuple[float, BoardError | None] | None]
        self._answers = queue.SimpleQueue()

    def open(self) -> None:
        if not self._entered.acquire(blocking=False):
            raise RuntimeError("a session can be entered once; session() makes another")
        transport = self._transport
        sent = time.monotonic()
        opened = transport.send(calls.open_session(transport.scope, *self._arguments))
        self.session_id = opened.session_id
        # An attempt that was sent much earlier may have opened it, and its ttl runs since then.
        if time.monotonic() - sent > opened.ttl.total_seconds() / 3:
            sent = time.monotonic()
            transport.send(calls.renew_session(transport.scope, self.session_id))
        self._thread = threading.Thread(
            target=self._renew,
            args=(opened.ttl, Lease(opened.ttl, sent)),
            name=f"session {opened.worker}",
            daemon=True,
        )
        self._thread.start()

    def close(self, *, interrupted: bool) -> None:
        if self._transport.connection.forked:
            return
        if self._thread is None:
            raise RuntimeError(renewal.NOT_ENTERED)
        self._answers.put(None)
        self._thread.join()
        transport = self._transport
        if interrupted or self.lost.is_set():
            transport = transport.with_options(timeout=min(transport.timeout, LEAVING))
        # The session may have ended; if the server does not get this call, it expires.
        with suppress(BoardError):
            transport.send(calls.close_session(transport.scope, self.session_id))

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
        except Exception as unexpected:  # a bug, too, ends the renewals
            error = renewal.unrenewed(self.session_id, ttl)
            error.__cause__ = unexpected
        self.error = error or renewal.unrenewed(self.session_id, ttl)
        self.lost.set()
        if self._on_lost:
            self._on_lost()

    def _send_renewal(self, lease: Lease) -> BoardError | None:
        """Send a renewal and do not wait for its answer, which comes to `_answers`."""
        connection = self._transport.connection
        if lease.unanswered:
            connection.switch(self._channel)
        self._channel = connection.current
        call = calls.renew_session(self._transport.scope, self.session_id)
        seconds, sent = lease.left(), lease.sent()  # before the call is sent
        try:
            self._transport.begin(call, seconds, lambda error: self._answers.put((sent, error)))
        except BoardError as error:  # the client is closed, or its token file is gone
            return lease.take(sent, error)
        return None
