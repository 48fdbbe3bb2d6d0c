"""The origin of a backup: the table `backups`, which a restored board keeps."""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import apsw

from board_server.sqlite import meta
from board_server.sqlite.connection import connect, connect_to_read
from board_server.sqlite.directory import SUFFIX
from board_server.sqlite.rows import reading
from board_server.sqlite.settings import utc_now
from board_server.sqlite.timestamps import to_text

# A row for each board that this one was restored from; in a backup also one for its own board.
_TABLE = """
CREATE TABLE IF NOT EXISTS backups (
    board_id TEXT PRIMARY KEY,     -- empty for a board that no server had opened
    name     TEXT NOT NULL,
    taken_at TIMESTAMP NOT NULL
)
"""


class Origin(NamedTuple):
    """The board in a file: its ID and revision.

    `names` has the name of this board and of each board that it was restored from, by ID.
    """

    board_id: str
    revision: int
    names: dict[str, str]

    @property
    def name(self) -> str:
        """The board's name when the backup was made; "" if an earlier version made it."""
        return self.names.get(self.board_id, "")

    def is_backup_of(self, other: "Origin", name: str) -> bool:
        """Return whether this is a backup of `other`, or of a board that it was restored from.

        `name` is the name of the other board.
        """
        if self.board_id and self.board_id == other.board_id:
            return True
        return self.name == name and self.board_id in {"", *other.names}


def name_of(board: Path) -> str:
    """Return the name of the board in this file, from its path."""
    return board.name.removesuffix(SUFFIX)


def mark(copy: Path, name: str) -> None:
    """Record in a copy which board it is a backup of."""
    with closing(connect(copy)) as db, db:
        db.execute(_TABLE)
        values = (_board_id(db), name, to_text(utc_now()))
        db.execute("INSERT OR REPLACE INTO backups VALUES (?, ?, ?)", values)


@reading()
def origin(file: Path) -> Origin:
    """Read which board a file holds. Raises apsw.Error if it cannot be read."""
    with connect_to_read(file) as db:
        marked = db.table_exists(None, "backups")
        rows = db.execute("SELECT board_id, name FROM backups") if marked else ()
        names = {str(board_id): str(name) for board_id, name in rows}
        revision = meta.revision(db) if db.table_exists(None, "meta") else 0
        return Origin(_board_id(db), revision, names)


def _board_id(db: apsw.Connection) -> str:
    return meta.info(db, "").board_id if db.table_exists(None, "meta") else ""
