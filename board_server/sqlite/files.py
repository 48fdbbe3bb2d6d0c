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
from board_server.sqlite.identity import BoardIdentity, Damage
from board_server.sqlite.lock import FileLock
from board_server.sqlite.meta import info
from board_server.sqlite.migrate import check_schema, migrate, rename_if_older
from board_server.sqlite.settings import Settings
from board_server.sqlite.storage_errors import storage_error

STRAY_LOG = {Damage.LOG_CUT, Damage.OVERWRITTEN}
"""Damage after which the log must not be checkpointed: it would corrupt the database."""

logger = logging.getLogger(__name__)


class BoardFiles:
    """The lock and three connections of a board, opened together or not at all.

    `writing` is for the writer's thread, `reading` for the event loop, `scanning` for the thread
    that reads many rows. `sessions` has the ID and ttl of each session that is in the file.
    """

    def __init__(
        self, path: Path, settings: Settings, *, create: bool, last_served: BoardInfo | None = None
    ) -> None:
        """Open the file, or create it. Raises StoreUnavailable or StoreFull, which name it.

        `last_served` is the board at this path before another program damaged its files.
        """
        self.path = path
        refuse_links(path)
        lock = path.with_name(path.name + ".lock")
        try:
            self._lock = FileLock(lock)
        except OSError as error:
            raise storage_error(error, lock) from error
        opened: list[apsw.Connection] = []
        try:
            opened.append(connect(path, create=create))
            check_schema(opened[0])
            configure(opened[0], settings.synchronous)
            migrate(opened[0], settings.clock())
            if last_served:
                rename_if_older(opened[0], last_served.board_id, last_served.revision)
            info(opened[0], "")
            self.sessions = sessions.ttls(opened[0])
            opened += [connect(path), connect(path)]
            for connection in opened:  # a read makes SQLite open the log
                connection.execute("SELECT revision FROM meta").fetchall()
            with suppress(apsw.Error):  # busy, or no room: the changes stay in the log
                opened[0].wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.identity = BoardIdentity(path)
        except (apsw.Error, OSError, StoreUnavailable) as error:
            for connection in opened:
                with suppress(apsw.Error):  # a disk that failed may fail again
                    connection.close()
            self._lock.release()
            raise storage_error(error, path) from error
        self.writing, self.reading, self.scanning = opened

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log in bytes."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except OSError:
            return 0

    def close(self) -> None:
        """Close the connections and release the lock, each even if another step fails.

        A log that does not belong to the database any more is renamed, not checkpointed.
        """
        stray = self.identity.damage() in STRAY_LOG
        with ExitStack() as closing:
            closing.callback(self._lock.release)
            if stray:
                closing.callback(_put_log_aside, self.path)
            for connection in (self.writing, self.reading, self.scanning):
                closing.callback(close_connection, connection, stray=stray)


def close_connection(connection: apsw.Connection, *, stray: bool) -> None:
    """Close a connection if it is open; do not checkpoint a stray log."""
    with suppress(apsw.ConnectionClosedError):
        if stray:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()


def _put_log_aside(path: Path) -> None:
    """Rename the log, and remove its index, which SQLite creates again with the next log."""
    log = path.with_name(f"{path.name}-wal")
    names = (log.with_name(f"{log.name}.stray.{number}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    with suppress(FileNotFoundError):
        log.rename(aside)
        logger.error("%s does not belong to its board any more, and was renamed: %s", log, aside)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


def refuse_links(path: Path) -> None:
    """Refuse a file with two names: each name would have its own lock.

    Raises StoreUnavailable for a symbolic link or a file with several hard links. A missing file
    is not an error.
    """
    try:
        found = path.lstat()
    except OSError:
        return  # opening it reports the error
    if stat.S_ISLNK(found.st_mode):
        what = "is a symbolic link, and two servers could write to its target; put the file itself"
        raise StoreUnavailable(f"the board's file {what} in its place", path)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        what = "has several hard links, and two servers could write to it; put a copy of it"
        raise StoreUnavailable(f"the board's file {what} in its place", path)
