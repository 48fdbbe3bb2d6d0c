"""Leases: count down the sessions of one board, by a clock that does not jump."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from board_server.errors import BoardError, SessionExpired, ShuttingDown
from board_server.store import CaughtUp

GRACE = 0.25
"""Seconds that a session gets beyond its ttl, for a renewal that is on its way."""

RETRY = 1.0
"""Seconds until the end of a session is tried again, should the store not take it."""


class _Lease:
    def __init__(self, ttl: timedelta) -> None:
        self.ttl = ttl
        self.expires_at = datetime.now(UTC)
        self.timer: asyncio.TimerHandle | None = None


class Leases:
    """Calls `expire` with the ID of each session that is not renewed in time.

    Late is what `caught_up`, awaited when the time is up, does not bring to light: a machine
    that stood still, or is flooded, finds its timers due before it has read the renewals that
    came meanwhile.
    """

    def __init__(self, expire: Callable[[str], Awaitable[object]], caught_up: CaughtUp) -> None:
        self._expire = expire
        self._caught_up = caught_up
        self._loop = asyncio.get_running_loop()
        self._leases: dict[str, _Lease] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def any(self) -> bool:
        """Whether a session lives, or is being ended."""
        return bool(self._leases or self._ending)

    def start(self, session_id: str, ttl: timedelta) -> None:
        """Begin to count a session down."""
        self._leases[session_id] = _Lease(ttl)
        self.renew(session_id)

    def renew(self, session_id: str) -> None:
        """Give a session its full ttl. Raises SessionExpired when its time was up."""
        lease = self._leases.get(session_id)
        if lease is None:
            raise SessionExpired(session_id)
        if lease.timer:
            lease.timer.cancel()
        lease.expires_at = datetime.now(UTC) + lease.ttl
        lease.timer = self._loop.call_later(
            lease.ttl.total_seconds(), self._time_is_up, session_id, lease
        )

    def stop(self, session_id: str) -> None:
        """Count a session down no longer; nothing to do if it is not counted."""
        lease = self._leases.pop(session_id, None)
        if lease and lease.timer:
            lease.timer.cancel()

    def expires_at(self, session_id: str) -> datetime:
        """Tell when a session ends unless it is renewed; now, if its time was up."""
        lease = self._leases.get(session_id)
        return lease.expires_at if lease else datetime.now(UTC)

    async def close(self) -> None:
        """Stop all countdowns, and give up the ends under way: whoever opens next counts anew."""
        for session_id in list(self._leases):
            self.stop(session_id)
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _time_is_up(self, session_id: str, lease: _Lease) -> None:
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
                return  # closed meanwhile, or counted anew by the next server
            except BoardError:
                await asyncio.sleep(RETRY)
            else:
                return
