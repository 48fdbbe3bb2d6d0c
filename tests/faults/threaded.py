"""A server in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from board_server.config import Config
from board_server.server import serving
from board_server.sqlite import SqliteStore


@contextmanager
def server_thread(
    directory: Path, *, board: str, store: type[SqliteStore] = SqliteStore
) -> Iterator[str]:
    """Serve the directory until the end of the block; yield the address."""
    stop = asyncio.Event()
    started: Future[tuple[asyncio.AbstractEventLoop, str]] = Future()

    async def serve() -> None:
        config = Config(directory, board, ("127.0.0.1:0",), grace=1)
        async with serving(store(directory), config) as (address,):
            started.set_result((asyncio.get_running_loop(), address))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="test server")
    thread.start()
    loop, address = started.result(60)
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
