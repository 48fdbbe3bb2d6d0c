"""Replay: do the tables hold what the events say? A board's own double entry."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import apsw

from board_server.model import Change
from board_server.sqlite.page import Row

_HOLDS: dict[Change, tuple[str, bool]] = {
    Change.PHASE: ("phase", True),
    Change.PHASE_REMOVED: ("phase", False),
    Change.CONTRACT: ("contract", True),
    Change.CONTRACT_REMOVED: ("contract", False),
    Change.CLAIMED: ("claim", True),
    Change.RELEASED: ("claim", False),
    Change.SESSION_OPENED: ("session", True),
    Change.SESSION_ENDED: ("session", False),
}
"""Of which table a change's record is, and whether it is there after the change."""

# Each as the events have its rows, the key first. A session's last column is its
# expiry in one and its opening in the other, and left out here.
_TABLES = {
    "phase": "SELECT task_id, state, worker, posted_at, updated_at, coalesce(session_id, '') "
    "FROM board LEFT JOIN phase_sessions USING (task_id)",
    "contract": "SELECT id, producer, kind, name, signature, package, status, created_at "
    "FROM contracts",
    "claim": "SELECT filepath, owner_task, claimed_at, coalesce(session_id, '') "
    "FROM file_claims LEFT JOIN claim_sessions USING (filepath)",
    "session": "SELECT session_id, worker, ttl_ms, on_expiry FROM sessions",
}

_SESSION_COLUMNS = 4


class _Replayed(NamedTuple):
    rows: dict[str, dict[str | int, list[object] | None]]
    whole: bool  # every event since the board's beginning is there


def differences(db: apsw.Connection) -> Iterator[str]:
    """Tell where the tables differ from the events that are kept, in words for the operator.

    Read it within one transaction.
    """
    yield from _gaps(db)
    replayed = _replay(db)
    for table, query in _TABLES.items():
        expected = replayed.rows[table]
        found: dict[str | int, Row] = {row[0]: row for row in db.execute(query)}
        for key, row in expected.items():
            if row is None and key in found:
                yield f"{table} {key!r} is there, and the events say that it went"
            elif row is not None and key not in found:
                yield f"{table} {key!r} is missing, and the events have it"
            elif row is not None and row != list(found[key]):
                yield f"{table} {key!r} is {found[key]!r}, and the events say {tuple(row)!r}"
        if replayed.whole:
            for key in found.keys() - expected.keys():
                yield f"{table} {key!r} is there, and no event tells of it"


def _gaps(db: apsw.Connection) -> Iterator[str]:
    revision, compacted = next(db.execute("SELECT revision, compacted_revision FROM meta"))
    kept, last = next(
        db.execute(
            "SELECT count(DISTINCT revision), coalesce(max(revision), 0) FROM events "
            "WHERE revision > ?",  # what is before is being dropped, some at each commit
            (compacted,),
        )
    )
    if kept != revision - compacted or (kept and last != revision):
        yield (
            f"the board is at revision {revision} and keeps the events after {compacted}, "
            f"but has events of {kept} revisions, the last {last}"
        )


def _replay(db: apsw.Connection) -> _Replayed:
    rows: dict[str, dict[str | int, list[object] | None]] = {table: {} for table in _TABLES}
    for change, record in db.execute(
        "SELECT change, record FROM events "
        "WHERE revision > (SELECT compacted_revision FROM meta) ORDER BY revision, position"
    ):
        table, there = _HOLDS[Change(change)]
        row = json.loads(record)
        if table == "session":
            row = row[:_SESSION_COLUMNS]
        rows[table][row[0]] = row if there else None
    whole = not db.execute("SELECT compacted_revision FROM meta").get
    return _Replayed(rows, whole)
