"""Checkpoints: keep the write-ahead log short, even while others read."""

from contextlib import suppress

import apsw

from board_server.sqlite.identity import BoardIdentity, Damage

LOG_HEADER = 32
FRAME_HEADER = 24
"""Bytes of the headers of the log and of each frame (sqlite.org/fileformat.html)."""

BUSY_TIMEOUT = 5000
"""Milliseconds to wait for another connection's lock."""

PAGES = 1000
"""Pages in the log that make a checkpoint worthwhile while the writer is idle."""

LONG = 8000
"""Pages in the log (32 MiB) from which on a checkpoint waits for readers.

Without waiting, it never reaches the end of the log while reads overlap, and the log grows.
"""

RESTART_TIMEOUT = 500
"""Milliseconds that such a checkpoint waits for readers; writes wait meanwhile. A backup reads
for longer: then the next attempt follows when the log has grown by another 8 MiB."""


class Checkpoints:
    """Decides when the write-ahead log is checkpointed to the board's file.

    Replaces SQLite's automatic checkpoints, which run while a caller waits.
    """

    def __init__(self, connection: apsw.Connection, identity: BoardIdentity) -> None:
        self._db = connection
        self._identity = identity
        self._frame = connection.pragma("page_size") + FRAME_HEADER
        self._pages = 0
        self._long = LONG
        connection.set_wal_hook(self._note)

    @property
    def worthwhile(self) -> bool:
        """Whether the log is long enough for a checkpoint while the writer is idle."""
        return self._pages >= PAGES

    @property
    def overdue(self) -> bool:
        """Whether the log is so long that the next write has to wait for a checkpoint."""
        return self._pages >= self._long

    def checkpoint(self) -> None:
        """Checkpoint as much as possible. If that fails, the changes stay in the log."""
        pages, self._pages = self._pages, 0
        if self._identity.damage():
            return  # the log may belong to another database, and would corrupt this one
        # An error here also occurs, and is reported, at the next write.
        with suppress(apsw.Error, OSError), self._identity.checkpoint():
            if pages < self._long:
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            else:
                self._long = pages + LONG // 4
                self._restart()
                self._long = LONG

    def save_deleted(self) -> bool:
        """Checkpoint a log that was deleted; return whether all of it is in the file now.

        The kernel frees a deleted log when it is closed, and the last commits with it.
        """
        if self._identity.damage() is not Damage.LOG_REMOVED:
            return False
        with suppress(apsw.Error, OSError), self._identity.checkpoint():
            in_log, moved = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
            return in_log == moved
        return False

    def _restart(self) -> None:
        """Checkpoint all of the log, so that the next write starts it from the beginning."""
        self._db.set_busy_timeout(RESTART_TIMEOUT)
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._db.set_busy_timeout(BUSY_TIMEOUT)

    def _note(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        self._identity.committed(LOG_HEADER + pages * self._frame)
        return apsw.SQLITE_OK
