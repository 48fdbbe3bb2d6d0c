"""Make a board file as small as what it holds."""

from contextlib import closing
from pathlib import Path

import apsw

from board_server.sqlite import events, meta
from board_server.sqlite.connection import connect
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import CannotKeep, unserved
from board_server.sqlite.migrate import check

_COUNTS_EVENTS = "SELECT 1 FROM pragma_table_info('meta') WHERE name = 'event_bytes'"


def compact(board: Path, keep_revisions: int) -> tuple[int, int]:
    """Drop the events and replies of all but the last revisions; give free pages back.

    Returns the file's bytes before and after. Refuses while a server has the board, and
    where it is not sound: the events tell what it should hold.
    """
    if not board.exists():
        raise CannotKeep(f"{board} does not exist")
    with unserved(board), closing(connect(board)) as db:
        check(db)
        if found := next(faults(board), None):
            raise CannotKeep(
                f"{board} is not sound, and was left as it is: {found}; see board doctor"
            )
        before = board.stat().st_size
        if db.table_exists(None, "events"):
            _forget(db, keep_revisions)
        db.execute("VACUUM")
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return before, board.stat().st_size


def _forget(db: apsw.Connection, keep_revisions: int) -> None:
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
