"""The files of one board: its lock, and the connections to its database."""

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.sqlite import sessions
from board_server.sqlite.connection import configure, connect
from board_server.sqlite.lock import FileLock
from board_server.sqlite.meta import info
from board_server.sqlite.migrate import check, migrate
from board_server.sqlite.settings import Settings
from board_server.sqlite.trouble import storage_error


class BoardFiles:
    """The lock and the three connections, taken together or not at all.

    A file has one name: of two, each would have a lock of its own.

    `writing` is the writer's, `reading` the event loop's, `scanning` that of the
    thread for large reads. `lived` are the sessions that lived when it was closed, and
    how long each lives without being renewed.
    """

    def __init__(self, path: Path, settings: Settings, *, create: bool) -> None:
        """Open the file, or create it. Raises StoreUnavailable or StoreFull, which name it."""
        self.path = path
        require_one_name(path)
        lock = path.with_name(path.name + ".lock")
        try:
            self._lock = FileLock(lock)
        except OSError as error:
            raise storage_error(error, lock) from error
        opened: list[apsw.Connection] = []
        try:
            opened.append(connect(path, create=create))
            check(opened[0])
            configure(opened[0], settings.synchronous)
            migrate(opened[0], settings.clock())
            info(opened[0], "")
            self.lived = sessions.ttls(opened[0])
            opened += [connect(path), connect(path)]
            self._identity = _identity(path)
        except (apsw.Error, OSError, StoreUnavailable) as error:
            for connection in opened:
                connection.close()
            self._lock.release()
            raise storage_error(error, path) from error
        self.writing, self.reading, self.scanning = opened

    def intact(self) -> bool:
        """Tell whether the path still leads to the file that was opened."""
        try:
            return _identity(self.path) == self._identity
        except OSError:
            return False

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except OSError:
            return 0

    def close(self) -> None:
        """Close what is open, and let the lock go, whatever becomes of the rest."""
        with ExitStack() as closing:
            closing.callback(self._lock.release)
            for connection in (self.writing, self.reading, self.scanning):
                closing.callback(connection.close)


def require_one_name(path: Path) -> None:
    """Refuse a file that is reached by two names: each would have a lock of its own.

    Raises StoreUnavailable, for a symbolic link or a file of several hard links. That there is no
    such file is no error.
    """
    try:
        found = path.lstat()
    except OSError:
        return  # whoever opens it says what is wrong
    if stat.S_ISLNK(found.st_mode):
        what = "is a symbolic link, and two servers could write to its target; put the file itself"
        raise StoreUnavailable(f"the board's file {what} in its place", path)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        what = "has several hard links, and two servers could write to it; put a copy of it"
        raise StoreUnavailable(f"the board's file {what} in its place", path)


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)  # on every call's way, and Path is slower
    return found.st_dev, found.st_ino
