"""Real servers for the tests, in a thread of this process or in a process of their own."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from board_server.announcement import address_in
from board_server.config.schema import Config
from board_server.rpc.server import serving
from board_server.sqlite import SqliteStore
from tests.support.loops import background

T = TypeVar("T")

ANY_PORT = "127.0.0.1:0"


@contextmanager
def in_thread(serve: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Serve in a thread of this process until the end of the block."""
    loop = background()
    started: Future[T] = Future()
    stop = asyncio.Event()

    async def until_stopped() -> None:
        try:
            async with serve() as running:
                started.set_result(running)
                await stop.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    ended = asyncio.run_coroutine_threadsafe(until_stopped(), loop)
    try:
        yield started.result()
    finally:
        loop.call_soon_threadsafe(stop.set)
        ended.result()


@contextmanager
def server_thread(
    directory: Path,
    *,
    board: str = "",
    listen: str = ANY_PORT,
    store: type[SqliteStore] = SqliteStore,
) -> Iterator[str]:
    """Serve the directory in a thread; yield the address that it listens on."""
    config = Config(directory, board, (listen,), grace=1)
    with in_thread(lambda: serving(store(directory), config)) as addresses:
        yield addresses[0]


@dataclass(frozen=True)
class ServerProcess:
    """A server in a process of its own, and where it listens."""

    process: subprocess.Popen[str]
    address: str

    def kill(self) -> None:
        """Kill it with SIGKILL, which it cannot handle."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Shut it down with SIGTERM; return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=30)


@contextmanager
def server_process(
    directory: Path,
    *,
    board: str = "",
    listen: str = ANY_PORT,
    command: Sequence[str | Path] = (sys.executable, "-m", "board_server"),
) -> Iterator[ServerProcess]:
    """Run `board serve` on the directory until the end of the block."""
    arguments = [directory, "--listen", listen]
    if board:
        arguments += ["--board", board]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            address = address_in(line := process.stdout.readline())
            assert address, f"the server did not start: {line!r}"
            yield ServerProcess(process, address)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
