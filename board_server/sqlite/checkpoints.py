"""Checkpoints: keep the write-ahead log short, whoever reads meanwhile."""

from contextlib import suppress

import apsw

from board_server.sqlite.identity import BoardIdentity, Damage

LOG_HEADER = 32
FRAME_HEADER = 24
"""Bytes in the log before its frames, and in each before its page (sqlite.org/fileformat.html)."""

BUSY_TIMEOUT = 5000
"""Milliseconds to wait for another connection's lock."""

PAGES = 1000
"""Pages of the log from which on they are worth moving to the file, when nobody waits."""

LONG = 8000
"""Pages of the log, 32 MiB, from which on a checkpoint waits for those who read in it.

One that does not wait never gets to the log's end while reads follow each
other without a pause, and the log grows for as long as they do.
"""

PATIENCE = 500
"""Milliseconds that it waits, and the writes with it. A backup reads for longer:
the next attempt is made when the log has grown by another 8 MiB."""


class Checkpoints:
    """The log of the writing connection, and when it is moved to the board's file.

    In place of SQLite's own checkpoints, which are made while a caller waits.
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
        """Whether there is enough to move, for a time when nobody waits."""
        return self._pages >= PAGES

    @property
    def overdue(self) -> bool:
        """Whether the log is so long that the next call has to wait."""
        return self._pages >= self._long

    def checkpoint(self) -> None:
        """Move what can be moved; where that fails, the log keeps it."""
        pages, self._pages = self._pages, 0
        if self._identity.damage():
            return  # to move the log into what may be another database would spoil it
        # What fails here does so again, and is told, when something is written.
        with suppress(apsw.Error, OSError), self._identity.checkpoint():
            if pages < self._long:
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            else:
                self._long = pages + LONG // 4
                self._restart()
                self._long = LONG

    def save_deleted(self) -> bool:
        """Move all of a log that was deleted to the file; tell whether all of it was moved.

        The log goes for good when it is closed, and nothing else has what was committed.
        """
        if self._identity.damage() is not Damage.LOG_REMOVED:
            return False
        with suppress(apsw.Error, OSError), self._identity.checkpoint():
            in_log, moved = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
            return in_log == moved
        return False

    def _restart(self) -> None:
        """Move all of the log, and let the next write begin it anew."""
        self._db.set_busy_timeout(PATIENCE)
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            self._db.set_busy_timeout(BUSY_TIMEOUT)

    def _note(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        self._identity.committed(LOG_HEADER + pages * self._frame)
        return apsw.SQLITE_OK
