"""Leases: expire the sessions of one board, by the monotonic clock."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from board_server.errors import BoardError, SessionExpired, ShuttingDown
from board_server.store import CaughtUp

GRACE = 0.25
"""Seconds beyond its ttl that a session lives, for a renewal that is on its way."""

RETRY = 1.0
"""Seconds until the end of a session is retried, if the store refuses it."""


class _Lease:
    def __init__(self, ttl: timedelta) -> None:
        self.ttl = ttl
        self.expires_at = datetime.now(UTC)
        self.timer: asyncio.TimerHandle | None = None


class Leases:
    """Calls `expire` with the ID of each session that is not renewed in time.

    On a machine that was suspended or is overloaded, timers are due before the renewals that
    have arrived are read. So before it expires a session, it awaits `caught_up`, which returns
    when they are read.
    """

    def __init__(self, expire: Callable[[str], Awaitable[object]], caught_up: CaughtUp) -> None:
        self._expire = expire
        self._caught_up = caught_up
        self._loop = asyncio.get_running_loop()
        self._leases: dict[str, _Lease] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> bool:
        """Whether there is a session, or one is being ended."""
        return bool(self._leases or self._ending)

    def start(self, session_id: str, ttl: timedelta) -> None:
        """Start the lease of a session."""
        self._leases[session_id] = _Lease(ttl)
        self.renew(session_id)

    def renew(self, session_id: str) -> None:
        """Renew a lease for its full ttl. Raises SessionExpired if it has expired."""
        lease = self._leases.get(session_id)
        if lease is None:
            raise SessionExpired(session_id)
        if lease.timer:
            lease.timer.cancel()
        lease.expires_at = datetime.now(UTC) + lease.ttl
        lease.timer = self._loop.call_later(
            lease.ttl.total_seconds(), self._ttl_elapsed, session_id, lease
        )

    def stop(self, session_id: str) -> None:
        """End a lease, if there is one, without calling `expire`."""
        lease = self._leases.pop(session_id, None)
        if lease and lease.timer:
            lease.timer.cancel()

    def expires_at(self, session_id: str) -> datetime:
        """Return when a session expires unless it is renewed; now if it has expired."""
        lease = self._leases.get(session_id)
        return lease.expires_at if lease else datetime.now(UTC)

    async def close(self) -> None:
        """End all leases and cancel pending expiries. The next server gives each its full ttl."""
        for session_id in list(self._leases):
            self.stop(session_id)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _ttl_elapsed(self, session_id: str, lease: _Lease) -> None:
        lease.timer = self._loop.call_later(GRACE, self._end, session_id, lease)

    def _end(self, session_id: str, lease: _Lease) -> None:
        task = self._loop.create_task(self._end_unless_renewed(session_id, lease))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_unless_renewed(self, session_id: str, lease: _Lease) -> None:
        timer = lease.timer
        await self._caught_up()
        if self._leases.get(session_id) is lease and lease.timer is timer:
            del self._leases[session_id]
            await self._end_until_done(session_id)

    async def _end_until_done(self, session_id: str) -> None:
        while True:
            try:
                await self._expire(session_id)
            except (SessionExpired, ShuttingDown):
                return  # it was closed meanwhile, or the next server renews it
            except BoardError:
                await asyncio.sleep(RETRY)
            except Exception:
                return  # the board is reopened and logs why; that gives the session its full ttl
            else:
                return
