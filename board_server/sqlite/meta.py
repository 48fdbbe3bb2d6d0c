"""The table `meta`: one row about the board."""

import apsw

from board_server.model import BoardInfo
from board_server.sqlite.rows import Columns, Damaged, reading, shortened
from board_server.sqlite.timestamps import from_text

MAX_NUMBER = 2**62
"""Larger than any number in `meta`; adding to it does not overflow."""

_ROW = Columns(board_id=str, revision=int, created_at=str)


@reading()
def info(db: apsw.Connection, name: str) -> BoardInfo:
    """Read the board's ID, revision and time of creation.

    Raises Damaged, and apsw.SQLError if no server has opened the file yet.
    """
    row = db.execute("SELECT board_id, revision, created_at FROM meta").fetchone()
    if row is None:
        raise Damaged("meta has no row")
    board_id, _, created_at = _ROW.check(row)
    return BoardInfo(name, board_id, revision(db), from_text(created_at))


def revision(db: apsw.Connection) -> int:
    """Read the board's revision. Raises Damaged."""
    return _number(db, "revision")


def compacted_revision(db: apsw.Connection) -> int:
    """Read the revision up to which events are compacted. Raises Damaged."""
    return _number(db, "compacted_revision")


def _number(db: apsw.Connection, column: str) -> int:
    number = db.execute(f"SELECT {column} FROM meta").get
    if type(number) is not int or not 0 <= number <= MAX_NUMBER:
        raise Damaged(f"the {column} of meta is {shortened(number)}")
    return number
