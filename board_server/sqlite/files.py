"""The files of one board: its lock, and the connections to its database."""

import logging
import stat
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.model import BoardInfo
from board_server.sqlite import sessions
from board_server.sqlite.connection import configure, connect
from board_server.sqlite.identity import Damage, Identity
from board_server.sqlite.lock import FileLock
from board_server.sqlite.meta import info
from board_server.sqlite.migrate import check, migrate, rename_if_older
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import storage_error

STRAY_LOG = {Damage.LOG_CUT, Damage.OVERWRITTEN}
"""Damage after which the log must not be moved into the database: it would spoil its pages."""

logger = logging.getLogger(__name__)


class BoardFiles:
    """The lock and the three connections, taken together or not at all.

    A file has one name: of two, each would have a lock of its own.

    `writing` is the writer's, `reading` the event loop's, `scanning` that of the
    thread for large reads. `lived` are the sessions that lived when it was closed, and
    how long each lives without being renewed.
    """

    def __init__(
        self, path: Path, settings: Settings, *, create: bool, served: BoardInfo | None = None
    ) -> None:
        """Open the file, or create it. Raises StoreUnavailable or StoreFull, which name it.

        `served` is what was served from this path until another program damaged it.
        """
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
            if served:
                rename_if_older(opened[0], served.board_id, served.revision)
            info(opened[0], "")
            self.lived = sessions.ttls(opened[0])
            opened += [connect(path), connect(path)]
            for connection in opened:  # each has the log open from here on
                connection.execute("SELECT revision FROM meta").fetchall()
            with suppress(apsw.Error):  # another program's, or for want of room: the log keeps it
                opened[0].wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.identity = Identity(path)
        except (apsw.Error, OSError, StoreUnavailable) as error:
            for connection in opened:
                with suppress(apsw.Error):  # a disk that failed may fail again
                    connection.close()
            self._lock.release()
            raise storage_error(error, path) from error
        self.writing, self.reading, self.scanning = opened

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except OSError:
            return 0

    def close(self) -> None:
        """Close what is open, and let the lock go, whatever becomes of the rest.

        Where the log does not belong to the database any more, it is put aside, and not moved
        into it.
        """
        stray = self.identity.damage() in STRAY_LOG
        with ExitStack() as closing:
            closing.callback(self._lock.release)
            if stray:
                closing.callback(_put_log_aside, self.path)
            for connection in (self.writing, self.reading, self.scanning):
                closing.callback(close_connection, connection, stray=stray)


def close_connection(connection: apsw.Connection, *, stray: bool) -> None:
    """Close a connection, unless it is; a stray log is not moved into the database."""
    with suppress(apsw.ConnectionClosedError):
        if stray:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()


def _put_log_aside(path: Path) -> None:
    """Rename the log; the index goes, which is made anew with the next log."""
    log = path.with_name(f"{path.name}-wal")
    names = (log.with_name(f"{log.name}.stray.{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    with suppress(FileNotFoundError):
        log.rename(aside)
        logger.error("%s does not belong to its board any more, and was put aside: %s", log, aside)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


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
