"""AsyncWatch: the items of a watch, for `async for`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")


class AsyncWatch(Generic[Item]):
    """The items of a watch. Its first step starts it, or `async with`, which also stops it.

    A step that is cancelled, for example by a timeout, loses nothing: the next step
    resumes.
    """

    def __init__(self, batches: AsyncGenerator[list[Any], None]) -> None:
        self._batches = batches
        self._items: list[Item] = []
        self._reading: asyncio.Task[list[Any] | None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._read()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if not await self._read():
                raise StopAsyncIteration
        return self._items.pop(0)

    async def aclose(self) -> None:
        """Stop the watch. Idempotent."""
        reading, self._reading = self._reading, None
        if reading:
            reading.cancel()
            await asyncio.wait({reading})
        await self._batches.aclose()

    def __del__(self) -> None:
        """Stop a watch that its user has not stopped."""
        if reading := getattr(self, "_reading", None):
            with suppress(RuntimeError):  # its event loop is closed
                reading.get_loop().call_soon_threadsafe(reading.cancel)

    async def _read(self) -> bool:
        """Take the next batch; return False at the end. Its task survives a cancelled step."""
        if not self._reading:
            self._reading = asyncio.create_task(_next(self._batches))
        reading = self._reading
        await asyncio.wait({reading})
        if reading is self._reading:  # no other task has taken it meanwhile
            self._reading = None
            batch = reading.result()
            self._items += batch or ()
            return batch is not None
        return True


async def _next(batches: AsyncGenerator[list[Any], None]) -> list[Any] | None:
    return await anext(batches, None)
