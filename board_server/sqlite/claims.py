"""The table `file_claims`: one row per claimed file."""

import json
from collections.abc import Sequence

import apsw

from board_server.errors import FileAlreadyClaimed
from board_server.model import FileClaim, Page, PageRequest
from board_server.sqlite.page import Row, cut
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.writer import Transaction

_COLUMNS = "filepath, owner_task, claimed_at"

_BY_PATH = f"SELECT {_COLUMNS} FROM file_claims WHERE filepath = ?"

_INSERT = f"""
INSERT INTO file_claims ({_COLUMNS}) VALUES (?, ?, ?)
ON CONFLICT (filepath) DO NOTHING RETURNING {_COLUMNS}
"""


def claim(tx: Transaction, filepath: str, owner: str) -> FileClaim:
    """Store.claim_file."""
    inserted = tx.db.execute(_INSERT, (filepath, owner, tx.now)).fetchone()
    if inserted:
        tx.changed()
        return _claim(inserted)
    held = _claim(next(tx.db.execute(_BY_PATH, (filepath,))))
    if held.owner != owner:
        raise FileAlreadyClaimed([held])
    return held


def release(tx: Transaction, owner: str, filepaths: Sequence[str]) -> int:
    """Store.release_claims."""
    released = tx.db.execute(
        """
        DELETE FROM file_claims WHERE owner_task = :owner
          AND (:filepaths = '[]' OR filepath IN (SELECT value FROM json_each(:filepaths)))
        RETURNING filepath
        """,
        {"owner": owner, "filepaths": json.dumps(list(filepaths))},
    ).fetchall()
    if released:
        tx.changed()
    return len(released)


def owner_of(db: apsw.Connection, filepath: str) -> str:
    """Store.get_file_owner."""
    owner = db.execute("SELECT owner_task FROM file_claims WHERE filepath = ?", (filepath,)).get
    return owner or ""


def list_page(
    db: apsw.Connection, revision: int, owner: str | None, page: PageRequest
) -> Page[FileClaim]:
    """Store.list_claims."""
    after = page.after[0] if page.after else ""
    of_owner = "" if owner is None else " AND owner_task = ?"
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM file_claims WHERE filepath > ?{of_owner} ORDER BY filepath",
        (after,) if owner is None else (after, owner),
    )
    items, more = cut(rows, page, _claim)
    return Page(items, revision, (items[-1].filepath,) if more else None)


def _claim(row: Row) -> FileClaim:
    filepath, owner, claimed_at = row
    return FileClaim(filepath, owner, from_text(claimed_at))
