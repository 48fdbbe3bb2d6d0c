"""The tables `file_claims`, one row per claimed file, and `claim_sessions`, their sessions."""

import json
from collections.abc import Sequence

import apsw

from board_server.errors import FileAlreadyClaimed
from board_server.model import Cause, Change, FileClaim, Page, PageRequest
from board_server.sqlite.page import take_page
from board_server.sqlite.rows import Columns, Damaged, Row, shortened
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.transaction import Transaction

_SELECT = """
SELECT filepath, owner_task, claimed_at, coalesce(session_id, '')
FROM file_claims LEFT JOIN claim_sessions USING (filepath)
"""

_INSERT = """
INSERT INTO file_claims (filepath, owner_task, claimed_at) VALUES (?, ?, ?)
ON CONFLICT (filepath) DO NOTHING RETURNING filepath, owner_task, claimed_at
"""

_ROW = Columns(filepath=str, owner=str, claimed_at=str, session_id=str)

_BIND = """
INSERT INTO claim_sessions (filepath, session_id) VALUES (?, ?)
ON CONFLICT (filepath) DO UPDATE SET session_id = excluded.session_id
"""


def claim_all(
    tx: Transaction, filepaths: Sequence[str], owner: str, session_id: str
) -> list[FileClaim]:
    """Store.claim_files, for a live session."""
    claims = {filepath: _claim(tx, filepath, owner, session_id) for filepath in filepaths}
    conflicts = [claim for claim in claims.values() if claim.owner != owner]
    if conflicts:
        raise FileAlreadyClaimed(conflicts)
    return [claims[filepath] for filepath in filepaths]


def _claim(tx: Transaction, filepath: str, owner: str, session_id: str) -> FileClaim:
    """Claim a file if it is free or the owner's; return its claim, which may be another's."""
    row = tx.db.execute(_INSERT, (filepath, owner, tx.now)).fetchone()
    if row is None:
        *row, bound = next(tx.db.execute(f"{_SELECT} WHERE filepath = ?", (filepath,)))
        held = from_row((*row, bound))
        if held.owner != owner or session_id in {"", bound}:
            return held
    if session_id:
        tx.db.execute(_BIND, (filepath, session_id))
    row = (*row, session_id)
    claim = from_row(row)
    tx.record(Change.CLAIMED, claim, row)
    return claim


def release(tx: Transaction, owner: str, filepaths: Sequence[str]) -> int:
    """Store.release_claims."""
    held = tx.db.execute(
        f"""
        {_SELECT} WHERE owner_task = :owner
          AND (:filepaths = '[]' OR filepath IN (SELECT value FROM json_each(:filepaths)))
        ORDER BY filepath
        """,
        {"owner": owner, "filepaths": json.dumps(list(filepaths))},
    ).fetchall()
    return _release(tx, held, Cause.CALL)


def release_bound(tx: Transaction, session_id: str, cause: Cause) -> int:
    """Release the claims that are bound to an ending session."""
    held = tx.db.execute(f"{_SELECT} WHERE session_id = ? ORDER BY filepath", (session_id,))
    return _release(tx, held.fetchall(), cause)


def remove_all(tx: Transaction) -> int:
    """Release all claims, for Store.archive_board."""
    held = tx.db.execute(f"{_SELECT} ORDER BY filepath").fetchall()
    return _release(tx, held, Cause.ARCHIVE)


def _release(tx: Transaction, held: Sequence[Row], cause: Cause) -> int:
    for row in held:
        tx.db.execute("DELETE FROM file_claims WHERE filepath = ?", (row[0],))
        tx.record(Change.RELEASED, from_row(row), row, cause)
    return len(held)


def owner_of(db: apsw.Connection, filepath: str) -> str:
    """Store.get_file_owner."""
    owner = db.execute("SELECT owner_task FROM file_claims WHERE filepath = ?", (filepath,)).get
    if not isinstance(owner, str | None):
        raise Damaged(f"the owner of {filepath!r} is {shortened(owner)}")
    return owner or ""


def list_page(
    db: apsw.Connection, revision: int, owner: str | None, page: PageRequest
) -> Page[FileClaim]:
    """Store.list_claims."""
    after = page.after[0] if page.after else ""
    of_owner = "" if owner is None else " AND owner_task = ?"
    rows = db.execute(
        f"{_SELECT} WHERE filepath > ?{of_owner} ORDER BY filepath",
        (after,) if owner is None else (after, owner),
    )
    items, more = take_page(rows, page, from_row)
    return Page(items, revision, (items[-1].filepath,) if more else None)


def from_row(row: Row) -> FileClaim:
    """Decode a row of `file_claims`, followed by its session_id. Raises Damaged."""
    filepath, owner, claimed_at, session_id = _ROW.check(row)
    return FileClaim(filepath, owner, from_text(claimed_at), session_id)
