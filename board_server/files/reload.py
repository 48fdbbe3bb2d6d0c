"""Read files of bounded size, and read them again when they change.

The client has its own reader, regular_file.py: neither package may import the other.
"""

import asyncio
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

LARGEST = 4 * 2**20
"""Bytes of the largest file that is read."""

READ_TIMEOUT = 1.0
"""Seconds that a call waits until the files are read."""

IDLE = 2.0
"""Seconds after which the thread that reads the files ends if it has nothing to do."""

log = logging.getLogger(__name__)


class BadFile(ValueError):
    """A file cannot be used. The text names the file and says what is wrong."""


def content(path: Path) -> bytes:
    """Read a regular file of at most LARGEST bytes. Raises BadFile.

    Other files are refused without waiting: a FIFO may never get a writer.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadFile(f"{path} is not a regular file")
            found = _all_of(file.fileno())
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    if len(found) > LARGEST:
        raise BadFile(f"{path} has more than {LARGEST} bytes")
    return found


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _all_of(file: int) -> bytes:
    found = b""
    while len(found) <= LARGEST and (more := os.read(file, LARGEST + 1)):
        found += more
    return found


class _Reader:
    """A thread for reading files, which ends when it has been idle.

    Starting a thread for each read costs more than the read. It is a daemon, because Python
    waits for other threads before it exits, and a file system may never answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._running = False

    def submit(self, work: Callable[[], None]) -> None:
        """Have the thread call `work`, which must not raise."""
        with self._lock:
            self._work.put(work)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="reload", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if self._work.empty():
                        self._running = False
                        return
            else:
                work()


class Reloader(Generic[T]):
    """A value that `parse` makes from the contents of files, and makes again when they change.

    The contents are compared, because two changes within one tick of the clock have the same
    timestamp. If a file becomes unusable, the reason is logged, and the last value stays until
    the file is fixed.
    """

    def __init__(
        self, paths: Sequence[Path], parse: Callable[..., T], *, every: float = 0.0
    ) -> None:
        """Read the files, and call `parse` with the contents of each. For `every`, see `fresh`.

        Raises BadFile, and what `parse` raises.
        """
        self._every = every
        self._next = time.monotonic() + every
        self._paths = paths
        self._parse = parse
        self._last_error = ""
        self._contents = self._look()
        self._value = parse(*self._contents)
        self._reading: asyncio.Future[None] | None = None
        self._until = 0.0
        self._reader = _Reader()

    @property
    def latest(self) -> T:
        """The value from when the files were last read."""
        return self._value

    def current(self) -> T:
        """Read the files; return their value, or the last value if they are unusable."""
        try:
            contents = self._look()
            if contents != self._contents:
                self._contents = contents
                self._value = self._parse(*contents)
                log.info("reloaded %s", ", ".join(map(str, self._paths)))
            self._last_error = ""
        except BadFile as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                log.error("%s; its last usable contents stay in effect", error)  # noqa: TRY400
        return self._value

    async def fresh(self) -> T:
        """Return the value; read the files again if they were last read `every` seconds ago.

        They are read in a thread, one read at a time. If the file system does not answer within
        READ_TIMEOUT, this returns the last value.
        """
        now = time.monotonic()
        if self._reading is None:
            if now < self._next:
                return self._value
            self._reading = self._read_in_thread()
            self._until = now + READ_TIMEOUT
        if now < self._until:
            await asyncio.wait([self._reading], timeout=self._until - now)
        return self._value

    def _read_in_thread(self) -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        read = loop.create_future()

        def run() -> None:
            try:
                self.current()
            except Exception:
                log.exception("cannot read %s", ", ".join(map(str, self._paths)))
            finally:
                with suppress(RuntimeError):  # the loop is closed: the server has stopped
                    loop.call_soon_threadsafe(over)

        def over() -> None:
            self._reading, self._next = None, time.monotonic() + self._every
            read.set_result(None)

        self._reader.submit(run)
        return read

    def _look(self) -> list[bytes]:
        return [content(path) for path in self._paths]
