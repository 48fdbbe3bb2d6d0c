"""Directory: the board files of a directory, open or not."""

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
"""Seconds between two checks for files that other programs have created or deleted."""

TIMESTAMP_LAG = 2 * 10**9
"""Nanoseconds after which a change of the directory is sure to show in its timestamp."""

log = logging.getLogger(__name__)


class Directory:
    """Finds and lists the board files of a directory.

    Lists are made in a thread of their own, because a directory may have a hundred thousand
    files. The names are cached, and read again when the directory has changed.
    """

    def __init__(self, path: Path) -> None:
        """Create the directory if it is missing. Raises StoreUnavailable if that fails."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(error.strerror or str(error), path) from error
        self._path = path
        self._opened: set[str] = set()  # boards opened since the names were read
        self._lock = threading.Lock()  # of `_opened`; the rest belongs to the thread
        self._names: list[str] = []
        self._read_at = float("-inf")
        self._state = 0
        self._unlisted: dict[str, tuple[object, ...]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="list-boards")

    def file(self, board: str) -> Path:
        """Return the path of a board's file, whether or not it exists."""
        return self._path / f"{board}{SUFFIX}"

    def has(self, board: str) -> bool:
        """Return whether a board's file exists. Raises StoreUnavailable if that fails."""
        path = self.file(board)
        try:
            return path.exists()
        except OSError as error:
            raise storage_error(error, path) from error

    def opened(self, board: str) -> None:
        """Add a board that may have just been created to the lists."""
        with self._lock:
            self._opened.add(board)

    async def list_boards(
        self, page: PageRequest, among: Collection[str] | None
    ) -> Page[BoardInfo]:
        """Store.list_boards. Files that other programs create are listed within a second."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._list, page, among)
        except OSError as error:
            raise storage_error(error, self._path) from error

    async def close(self) -> None:
        """Finish the lists in progress, and end the thread."""
        await asyncio.to_thread(self._thread.shutdown)

    def _list(self, page: PageRequest, among: Collection[str] | None) -> Page[BoardInfo]:
        names = self._all() if among is None else self._of(among)
        start = bisect_right(names, str(page.after[0])) if page.after else 0
        wanted = names[start : start + page.size]
        boards = [board for name in wanted if (board := self._read_info(name))]
        more = start + len(wanted) < len(names)
        return Page(boards, 0, (wanted[-1],) if more else None)

    def _of(self, among: Collection[str]) -> list[str]:
        return sorted(name for name in among if is_board_name(name) and self.has(name))

    def _all(self) -> list[str]:
        """Return the sorted names of all boards, including those that this server has created."""
        if time.monotonic() - self._read_at >= REFRESH_INTERVAL:
            changed = self._path.stat().st_mtime_ns
            if changed != self._state:
                self._read()
            # A second change may leave the timestamp the same: then read again next time.
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
            self._opened.clear()  # boards created from now on may be missing in what is read
        with os.scandir(self._path) as entries:
            found = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
        self._names = sorted(
            name for file in found if is_board_name(name := file.removesuffix(SUFFIX))
        )
        there = set(self._names)
        self._unlisted = {name: why for name, why in self._unlisted.items() if name in there}

    def _read_info(self, name: str) -> BoardInfo | None:
        """Read a board's info without opening it for service; None if that fails."""
        path = self.file(name)
        try:
            refuse_links(path)
            connection = connect(path)
            try:
                check_schema(connection)
                if not connection.table_exists(None, "meta"):
                    # Created by quasar's own store, and not served here yet.
                    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    return BoardInfo(name, "", 0, made)
                return info(connection, name)
            finally:
                connection.close()
        except (apsw.Error, OSError, StoreUnavailable) as error:
            self._log_unlisted(name, path, error)
            return None

    def _log_unlisted(self, name: str, path: Path, error: Exception) -> None:
        """Log why a file is not listed: once for each file, and again when it changes."""
        found = lstat(path)
        if found is None:  # deleted since the names were read
            return
        why = identity(found), version(found), str(error)
        if self._unlisted.get(name) != why:
            self._unlisted[name] = why
            log.warning("not listed as a board: %s: %s", path, error)
