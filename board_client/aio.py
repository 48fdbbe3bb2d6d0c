"""AsyncBoardClient: the board for programs with an event loop."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from board_client import calls, renewal
from board_client.async_board import AsyncBoard
from board_client.async_transport import AsyncTransport
from board_client.calls import Scope
from board_client.channel import DEFAULT_TIMEOUT
from board_client.credentials import Credentials
from board_client.environment import options_from
from board_client.errors import BoardError
from board_client.model import OnExpiry, OnExpiryLike
from board_client.renewal import LEAVING, Lease
from board_client.target import DEFAULT_TARGET


class AsyncBoardClient(AsyncBoard):
    """As `BoardClient`, with `await` before each call, `async for` and `async with`.

    It belongs to the event loop of its first call, and raises RuntimeError in
    another one. It may be made without a loop. A process that is forked while its
    parent has one open cannot use any: start it with multiprocessing's method
    "spawn" or "forkserver", or use BoardClient in it.
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
        super().__init__(AsyncTransport.to(target, scope, phase_id, timeout, self.credentials))

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, *, timeout: float = DEFAULT_TIMEOUT
    ) -> Self:
        """As `BoardClient.from_environment`."""
        return cls(**options_from(environment), timeout=timeout)

    def session(
        self,
        worker: str,
        ttl: timedelta | float = 30.0,
        on_expiry: OnExpiryLike = OnExpiry.FAIL,
        *,
        on_lost: Callable[[], None] | None = None,
    ) -> "AsyncBoardSession":
        """As `BoardClient.session`, for an `async with` block. `on_lost` is called in its loop."""
        renewing = _Renewing(self._transport, worker, ttl, on_expiry, on_lost)
        return AsyncBoardSession(self._transport, renewing)

    def with_options(
        self,
        *,
        board: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        """As `BoardClient.with_options`."""
        return self._with(self._transport.with_options(board, session_id, timeout))

    async def close(self) -> None:
        """As `BoardClient.close`."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


class AsyncBoardSession(AsyncBoard):
    """As `BoardSession`, for an `async with` block."""

    def __init__(self, transport: AsyncTransport, renewing: "_Renewing") -> None:
        super().__init__(transport)
        self._renewing = renewing

    @property
    def scope(self) -> Scope:
        """Board and session of the calls."""
        return super().scope._replace(session_id=self._renewing.session_id)

    @property
    def lost(self) -> asyncio.Event:
        """Event that is set once the session is lost."""
        return self._renewing.lost

    @property
    def error(self) -> BoardError | None:
        """Why the session is lost; None if it is not."""
        return self._renewing.error

    def with_options(self, *, timeout: float) -> Self:
        """Return the same session, with calls that may take `timeout` seconds."""
        return self._with(self._transport.with_options(timeout=timeout))

    async def __aenter__(self) -> Self:
        """Open the session. Raises RuntimeError if it was entered before."""
        await self._renewing.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session; in a forked process leave it open, for it is the parent's.

        If the task is cancelled meanwhile, closing has `renewal.LEAVING` seconds left.
        Raises RuntimeError if the session was not entered.
        """
        await self._renewing.close(interrupted=kind is not None and not issubclass(kind, Exception))


class _Renewing:
    """One session, from its opening to its closing, and the task that renews it."""

    def __init__(
        self,
        transport: AsyncTransport,
        worker: str,
        ttl: timedelta | float,
        on_expiry: OnExpiryLike,
        on_lost: Callable[[], None] | None,
    ) -> None:
        self._transport = transport
        self.session_id = ""
        self.lost = asyncio.Event()
        self.error: BoardError | None = None
        self._arguments = (worker, ttl, on_expiry)
        self._on_lost = on_lost
        self._entered = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._channel = 0  # index of the channel of the last renewal

    async def open(self) -> None:
        if not self._entered.acquire(blocking=False):
            raise RuntimeError("a session can be entered once; session() makes another")
        transport = self._transport
        sent = time.monotonic()
        opened = await transport.send(calls.open_session(transport.scope, *self._arguments))
        self.session_id = opened.session_id
        # An attempt that was sent much earlier may have opened it, and its ttl runs since then.
        if time.monotonic() - sent > opened.ttl.total_seconds() / 3:
            sent = time.monotonic()
            await transport.send(calls.renew_session(transport.scope, self.session_id))
        self._task = asyncio.create_task(self._renew(opened.ttl, Lease(opened.ttl, sent)))

    async def close(self, *, interrupted: bool) -> None:
        if self._transport.connection.forked:
            return
        if self._task is None:
            raise RuntimeError(renewal.NOT_ENTERED)
        closing = asyncio.create_task(self._close(self._task, interrupted or self.lost.is_set()))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait({closing}, timeout=LEAVING)
            raise
        finally:
            closing.cancel()

    async def _close(self, renewing: asyncio.Task[None], hurried: bool) -> None:
        renewing.cancel()
        await asyncio.wait({renewing})
        transport = self._transport
        if hurried:
            transport = transport.with_options(timeout=min(transport.timeout, LEAVING))
        # The session may have ended; if the server does not get this call, it expires.
        with suppress(BoardError):
            await transport.send(calls.close_session(transport.scope, self.session_id))

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
        except Exception as unexpected:  # a bug, too, ends the renewals
            error = renewal.unrenewed(self.session_id, ttl)
            error.__cause__ = unexpected
        finally:
            for renewing in renewals:
                renewing.cancel()
        self.error = error or renewal.unrenewed(self.session_id, ttl)
        self.lost.set()
        if self._on_lost:
            self._on_lost()

    def _send_renewal(self, lease: Lease) -> "asyncio.Task[BoardError | None]":
        """Send a renewal. Its task returns the error that ends the session, if any."""
        transport = self._transport
        if lease.unanswered:
            transport.connection.switch(self._channel)
        self._channel = transport.connection.current
        seconds, sent = lease.left(), lease.sent()

        async def renew() -> BoardError | None:
            try:
                await transport.once(calls.renew_session(transport.scope, self.session_id), seconds)
            except BoardError as error:
                return lease.take(sent, error)
            return lease.take(sent, None)

        return asyncio.create_task(renew())
