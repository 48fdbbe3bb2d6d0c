"""Checkpoints: keep the write-ahead log short, whoever reads meanwhile."""

from contextlib import suppress

import apsw

BUSY_TIMEOUT = 5000
"""Milliseconds to wait for another connection's lock."""

PAGES = 1000
"""Pages of the log from which on they are moved to the file, as far as nobody reads in it."""

LONG = 8000
"""Pages of the log, 32 MiB, from which on a checkpoint waits for those who read in it.

One that does not wait never gets to the log's end while reads follow each
other without a pause, and the log grows for as long as they do.
"""

PATIENCE = 500
"""Milliseconds that it waits, and the writes with it. A backup reads for longer:
the next attempt is made when the log has grown by another 8 MiB."""


class Checkpoints:
    """Called after each commit with the length of the log; a hook of the writing connection."""

    def __init__(self) -> None:
        self._long = LONG

    def __call__(self, connection: apsw.Connection, name: str, pages: int) -> int:
        """Make a checkpoint if the log is long enough for one."""
        # What fails here does so again, and is told, when something is written.
        with suppress(apsw.Error):
            if pages >= self._long:
                self._long = pages + LONG // 4
                self._restart(connection, name)
                self._long = LONG
            elif pages >= PAGES:
                connection.wal_checkpoint(name, apsw.SQLITE_CHECKPOINT_PASSIVE)
        return apsw.SQLITE_OK

    def _restart(self, connection: apsw.Connection, name: str) -> None:
        """Move all of the log to the file, and let the next write begin it anew."""
        connection.set_busy_timeout(PATIENCE)
        try:
            connection.wal_checkpoint(name, apsw.SQLITE_CHECKPOINT_RESTART)
        finally:
            connection.set_busy_timeout(BUSY_TIMEOUT)
