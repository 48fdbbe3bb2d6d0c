"""Shrink a board file: delete old events and outcomes, then return free pages."""

from contextlib import closing
from pathlib import Path

import apsw

from board_server.sqlite import events, meta
from board_server.sqlite.connection import connect
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError, exclusive
from board_server.sqlite.migrate import check_schema

_COUNTS_EVENTS = "SELECT 1 FROM pragma_table_info('meta') WHERE name = 'event_bytes'"


def compact(board: Path, keep_revisions: int) -> tuple[int, int]:
    """Delete the events and outcomes of all but the last revisions, and shrink the file.

    Returns the file's size in bytes before and after. Raises MaintenanceError if a server has the
    board, or if the board is damaged: its events are needed to find out what is wrong.
    """
    if not board.exists():
        raise MaintenanceError(f"{board} does not exist")
    with exclusive(board), closing(connect(board)) as db:
        check_schema(db)
        if found := next(faults(board), None):
            raise MaintenanceError(
                f"{board} is not sound, and was not changed: {found}; see board doctor"
            )
        before = board.stat().st_size
        if db.table_exists(None, "events"):
            _drop_old(db, keep_revisions)
        db.execute("VACUUM")
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return before, board.stat().st_size


def _drop_old(db: apsw.Connection, keep_revisions: int) -> None:
    oldest = meta.revision(db) - keep_revisions
    if oldest <= 0:
        return
    with db:
        db.execute("DELETE FROM events WHERE revision <= ?", (oldest,))
        if db.table_exists(None, "requests"):
            db.execute("DELETE FROM requests WHERE revision <= ?", (oldest,))
        db.execute("UPDATE meta SET compacted_revision = max(compacted_revision, ?)", (oldest,))
        if db.execute(_COUNTS_EVENTS).get:
            db.execute(events.RECOUNT)
