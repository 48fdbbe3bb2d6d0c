"""Tasks: background work that outlives the call that started it, and has an owner."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """The tasks of one owner, which ends them with `close`."""

    def __init__(self) -> None:
        # Unlike a set, a dict has an order: the simulation needs the same one in every run.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` in a task of its own. Callers await it through `asyncio.shield`."""
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    async def finished(self) -> None:
        """Wait until every task that is running now is done; errors stay with their tasks."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Cancel all tasks and wait for their ends."""
        for task in self._tasks:
            task.cancel()
        await self.finished()
