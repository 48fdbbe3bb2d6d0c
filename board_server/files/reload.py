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
from typing import Generic, TypeVar

T = TypeVar("T")

LARGEST = 4 * 2**20
"""Bytes of the largest file that is read."""

PATIENCE = 1.0
"""Seconds that reading the files may hold a call up."""

log = logging.getLogger(__name__)


class BadFile(ValueError):
    """A file that cannot be used. Its text names the file and says what is wrong with it."""


def content(path: Path) -> bytes:
    """Read a regular file of at most LARGEST bytes. Raises BadFile.

    Anything else is refused without waiting: a FIFO may never get a writer.
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


class Reloader(Generic[T]):
    """What `parse` makes of the contents of files, made anew when these have changed.

    The contents are compared, because two changes within one tick of the clock leave a
    file the same times. If a file becomes unusable, the log says why, and the last usable
    value stays until the file is mended.
    """

    def __init__(
        self, paths: Sequence[Path], parse: Callable[..., T], *, every: float = 0.0
    ) -> None:
        """Read the files and call `parse` with the contents of each; `every`: see `fresh`.

        Raises what `parse` does, and BadFile.
        """
        self._every = every
        self._next = time.monotonic() + every
        self._paths = paths
        self._parse = parse
        self._told = ""
        self._contents = self._look()
        self._value = parse(*self._contents)
        self._reading: asyncio.Future[None] | None = None
        self._until = 0.0

    @property
    def latest(self) -> T:
        """What the files said when they were last read."""
        return self._value

    def current(self) -> T:
        """Read the files; return what they say now, or said when they could last be used."""
        try:
            contents = self._look()
            if contents != self._contents:
                self._contents = contents
                self._value = self._parse(*contents)
                log.info("reread %s", ", ".join(map(str, self._paths)))
            self._told = ""
        except BadFile as error:
            if str(error) != self._told:
                self._told = str(error)
                log.error("%s; what it said before stands", error)  # noqa: TRY400  it says all
        return self._value

    async def fresh(self) -> T:
        """Return what the files say, read again no sooner than `every` seconds after the last time.

        They are read in a thread, one at a time. A file system that does not answer holds
        callers up for at most PATIENCE; then what the files said before stands.
        """
        now = time.monotonic()
        if self._reading is None:
            if now < self._next:
                return self._value
            self._reading = self._read_in_thread()
            self._until = now + PATIENCE
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

        # A daemon: Python would wait for another kind of thread before it exits.
        threading.Thread(target=run, name="rereader", daemon=True).start()
        return read

    def _look(self) -> list[bytes]:
        return [content(path) for path in self._paths]
