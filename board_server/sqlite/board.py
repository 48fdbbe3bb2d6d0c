"""One open board: its lock, its writer, and the connections that read it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import apsw

from board_server.errors import StoreUnavailable
from board_server.model import BoardInfo, Page, Revised
from board_server.sqlite.connection import Synchronous, configure, connect, storage_error
from board_server.sqlite.lock import FileLock
from board_server.sqlite.migrate import check, migrate
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.writer import Transaction, Writer

T = TypeVar("T")
Clock = Callable[[], datetime]


class OpenBoard:
    """A board file that this process alone serves.

    Writes go through the writer's thread. Point reads run at once on a
    connection of the event loop's; lists run in a thread of their own, so that
    a large one holds nobody up.
    """

    def __init__(self, name: str, files: "_Files", clock: Clock) -> None:
        self.name = name
        self._files = files
        self._writer = Writer(files.writing, clock, name)
        self._lists = ThreadPoolExecutor(1, thread_name_prefix=f"lists {name}")

    @classmethod
    async def open(
        cls, path: Path, name: str, synchronous: Synchronous, clock: Clock
    ) -> "OpenBoard":
        """Create or open the file. Raises StoreUnavailable if it is not to be had."""
        files = await asyncio.to_thread(_Files, path, synchronous, clock)
        return cls(name, files, clock)

    async def write(self, work: Callable[[Transaction], T]) -> Revised[T]:
        """Run one write call in a transaction; return once it is synced."""
        return await self._writer.write(work)

    def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """Run a query of a few rows, here and now."""
        try:
            return query(self._files.reading)
        except apsw.Error as error:
            raise storage_error(error) from error

    async def list_page(self, query: Callable[[apsw.Connection, int], Page[T]]) -> Page[T]:
        """Run a query of many rows, in a thread, at one revision of the board."""
        return await asyncio.get_running_loop().run_in_executor(
            self._lists, _at_one_revision, self._files.listing, query
        )

    def info(self) -> BoardInfo:
        """Tell about the board."""
        return self.read(lambda db: info(db, self.name))

    async def close(self) -> None:
        """End the writer once its calls are done, close the file, let the lock go."""
        await self._writer.close()
        await asyncio.to_thread(self._lists.shutdown)
        self._files.close()


class _Files:
    """The lock and the three connections, taken together or not at all."""

    def __init__(self, path: Path, synchronous: Synchronous, clock: Clock) -> None:
        try:
            self._lock = FileLock(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror}") from error
        try:
            self.writing = connect(path, create=True)
            check(self.writing)
            configure(self.writing, synchronous)
            migrate(self.writing, clock())
            self.reading = connect(path)
            self.listing = connect(path)
        except (apsw.Error, StoreUnavailable) as error:
            self._lock.release()
            raise StoreUnavailable(f"{path}: {error}") from error

    def close(self) -> None:
        self.reading.close()
        self.listing.close()
        self._lock.release()


def _at_one_revision(
    db: apsw.Connection, query: Callable[[apsw.Connection, int], Page[T]]
) -> Page[T]:
    try:
        db.execute("BEGIN")
        try:
            return query(db, int(db.execute("SELECT revision FROM meta").get))
        finally:
            db.execute("COMMIT")
    except apsw.Error as error:
        raise storage_error(error) from error


def info(db: apsw.Connection, name: str) -> BoardInfo:
    """Read what the file says of its board. Raises apsw.SQLError where no server ever opened it."""
    board_id, revision, created_at = next(
        db.execute("SELECT board_id, revision, created_at FROM meta")
    )
    return BoardInfo(name, board_id, revision, from_text(created_at))
