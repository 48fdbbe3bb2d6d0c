"""Defects that the simulation must find: one that the board once had, and three invented ones."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from board_server.sqlite.leases import Leases, _Lease
from board_server.sqlite.registry import Registry
from board_server.watch.hub import Hub, Hubs


@contextmanager
def a_get_that_starves_its_callback() -> Iterator[None]:
    """The registry as it once was.

    A finished change stays in `_transitions` until its callback runs. Meanwhile Registry.get
    awaits that change, which does not yield, so the callback never runs and the server hangs.
    """

    def change(self: Registry, name: str, work: Any) -> asyncio.Task[None]:
        task = self._transitions[name] = asyncio.create_task(work)
        task.add_done_callback(partial(changed, self, name))
        return task

    def changed(self: Registry, name: str, task: asyncio.Task[None]) -> None:
        del self._transitions[name]
        if not task.cancelled():
            task.exception()

    with patch.object(Registry, "_begin", change):
        yield


@contextmanager
def a_waiter_that_registers_too_late() -> Iterator[None]:
    """A commit between a waiter's lookup in the store and its registration does not wake it."""

    async def wait_for(self: Hub, conditions: Any) -> Any:
        met = None
        while met is None:
            found = await self._store.find(self.board, conditions)
            await asyncio.to_thread(lambda: None)
            with self._waiters.add(conditions) as waiter:
                waiter.begin(found)
                met = await waiter.met
        return met

    with patch.object(Hub, "wait_for", wait_for):
        yield


@contextmanager
def a_lease_that_is_renewed_after_its_end() -> Iterator[None]:
    """A session that is about to end can be renewed, and still ends."""
    real = Leases.renew

    def renew(self: Leases, session_id: str) -> None:
        if session_id not in self._leases and self._ending:
            self._leases[session_id] = _Lease(timedelta(seconds=10))
        real(self, session_id)

    with patch.object(Leases, "renew", renew):
        yield


@contextmanager
def a_cache_that_is_read_before_its_hub_has_caught_up() -> Iterator[None]:
    """A list can show less than an earlier read has shown."""

    async def caught_up(self: Hubs, board: str) -> Hub:
        return await self.of(board)

    with patch.object(Hubs, "caught_up", caught_up):
        yield


MUTANTS: tuple[Callable[[], Any], ...] = (
    a_get_that_starves_its_callback,
    a_waiter_that_registers_too_late,
    a_lease_that_is_renewed_after_its_end,
    a_cache_that_is_read_before_its_hub_has_caught_up,
)
