"""Directory: the board files of one directory, opened for service or not."""

import asyncio
import logging
import os
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.files.identity import identity, lstat, version
from board_server.model import BoardInfo, Page, PageRequest, is_board_name
from board_server.sqlite.connection import connect
from board_server.sqlite.files import refuse_links
from board_server.sqlite.meta import info
from board_server.sqlite.migrate import check_schema
from board_server.sqlite.storage_errors import storage_error

SUFFIX = ".board.db"

REFRESH_INTERVAL = 1.0
"""Seconds between two looks whether another program has put files there, or taken some away."""

TIMESTAMP_LAG = 2 * 10**9
"""Nanoseconds after which a change of the directory shows in its timestamp for certain."""

log = logging.getLogger(__name__)


class Directory:
    """Tells where a board's file is, and which there are.

    Lists are made in a thread of their own: a directory may have a hundred thousand files, and
    no board waits to be opened meanwhile. The names are kept, and read anew where the directory
    has changed.
    """

    def __init__(self, path: Path) -> None:
        """Make the directory if need be. Raises StoreUnavailable where that cannot be done."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(error.strerror or str(error), path) from error
        self._path = path
        self._opened: set[str] = set()  # since the names were read
        self._lock = threading.Lock()  # of `_opened`; all else is the thread's
        self._names: list[str] = []
        self._read_at = float("-inf")
        self._state = 0
        self._left_out: dict[str, tuple[object, ...]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lists boards")

    def file(self, board: str) -> Path:
        """Return the path of a board's file, whether or not it is there."""
        return self._path / f"{board}{SUFFIX}"

    def has(self, board: str) -> bool:
        """Return whether a board's file is there. Raises StoreUnavailable if nobody can say."""
        path = self.file(board)
        try:
            return path.exists()
        except OSError as error:
            raise storage_error(error, path) from error

    def opened(self, board: str) -> None:
        """Take note of a board that may have been created: lists have it from now on."""
        with self._lock:
            self._opened.add(board)

    async def list_boards(
        self, page: PageRequest, among: Collection[str] | None
    ) -> Page[BoardInfo]:
        """Store.list_boards. What other programs put there is listed within a second."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._list, page, among)
        except OSError as error:
            raise storage_error(error, self._path) from error

    async def close(self) -> None:
        """End the thread, once the lists under way are made."""
        await asyncio.to_thread(self._thread.shutdown)

    def _list(self, page: PageRequest, among: Collection[str] | None) -> Page[BoardInfo]:
        names = self._all() if among is None else self._of(among)
        start = bisect_right(names, str(page.after[0])) if page.after else 0
        wanted = names[start : start + page.size]
        boards = [board for name in wanted if (board := self._peek(name))]
        more = start + len(wanted) < len(names)
        return Page(boards, 0, (wanted[-1],) if more else None)

    def _of(self, among: Collection[str]) -> list[str]:
        return sorted(name for name in among if is_board_name(name) and self.has(name))

    def _all(self) -> list[str]:
        """Return the names of all boards, sorted, those included that this server has created."""
        if time.monotonic() - self._read_at >= REFRESH_INTERVAL:
            changed = self._path.stat().st_mtime_ns
            if changed != self._state:
                self._read()
            # Another change at once may leave the timestamp as it is: then look again.
            self._state = changed if time.time_ns() - changed > TIMESTAMP_LAG else 0
            self._read_at = time.monotonic()
        with self._lock:
            opened, self._opened = self._opened, set()
        for name in opened:
            place = bisect_left(self._names, name)
            if self._names[place : place + 1] != [name]:
                insort(self._names, name)
        return self._names

    def _read(self) -> None:
        with self._lock:
            self._opened.clear()  # what is created from here on may not be among what is read
        with os.scandir(self._path) as entries:
            found = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
        self._names = sorted(
            name for file in found if is_board_name(name := file.removesuffix(SUFFIX))
        )
        there = set(self._names)
        self._left_out = {name: why for name, why in self._left_out.items() if name in there}

    def _peek(self, name: str) -> BoardInfo | None:
        """Read about a board without opening it for service; None if it cannot be read."""
        path = self.file(name)
        try:
            refuse_links(path)
            connection = connect(path)
            try:
                check_schema(connection)
                if not connection.table_exists(None, "meta"):
                    # Made by quasar's own store, not served here yet.
                    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    return BoardInfo(name, "", 0, made)
                return info(connection, name)
            finally:
                connection.close()
        except (apsw.Error, OSError, StoreUnavailable) as error:
            self._leave_out(name, path, error)
            return None

    def _leave_out(self, name: str, path: Path, error: Exception) -> None:
        """Log why a file is not listed: once for each file, and again when it has changed."""
        found = lstat(path)
        if found is None:  # deleted since the names were read
            return
        why = identity(found), version(found), str(error)
        if self._left_out.get(name) != why:
            self._left_out[name] = why
            log.warning("left out of the list of boards: %s: %s", path, error)
