"""Audit: compare the tables of a board with its events.

Every row is decoded as a server does, so that rows that no server can read are found too.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import apsw

from board_server.model import Change
from board_server.sqlite import claims, contracts, events, idempotency, phases, sessions
from board_server.sqlite.meta import MAX_NUMBER, compacted_revision, info, revision
from board_server.sqlite.rows import Damaged, Row, shortened

_EFFECTS: dict[Change, tuple[str, bool]] = {
    Change.PHASE: ("phase", True),
    Change.PHASE_REMOVED: ("phase", False),
    Change.CONTRACT: ("contract", True),
    Change.CONTRACT_REMOVED: ("contract", False),
    Change.CLAIMED: ("claim", True),
    Change.RELEASED: ("claim", False),
    Change.SESSION_OPENED: ("session", True),
    Change.SESSION_ENDED: ("session", False),
}
"""The table of each change's record, and whether the record exists after the change."""


class _Table(NamedTuple):
    query: str  # its rows in the form of the events, the key first
    read: Callable[[Row], object]
    compared: int  # how many columns are compared


_TABLES = {
    "phase": _Table(
        "SELECT task_id, state, worker, posted_at, updated_at, coalesce(session_id, '') "
        "FROM board LEFT JOIN phase_sessions USING (task_id)",
        phases.from_row,
        6,
    ),
    "contract": _Table(
        "SELECT id, producer, kind, name, signature, package, status, created_at FROM contracts",
        contracts.from_row,
        8,
    ),
    "claim": _Table(
        "SELECT filepath, owner_task, claimed_at, coalesce(session_id, '') "
        "FROM file_claims LEFT JOIN claim_sessions USING (filepath)",
        claims.from_row,
        4,
    ),
    # The last column is the time of opening here, and the time of expiry in the events.
    "session": _Table(
        "SELECT session_id, worker, ttl_ms, on_expiry, opened_at FROM sessions",
        sessions.opened,
        4,
    ),
}

_STORED = ("meta", "board", "contracts", "file_claims", "events", "sessions", "requests")
"""The tables whose text is checked to be UTF-8; all text of the others refers to one of these."""

Rows = dict[Any, Row | None]


def differences(db: apsw.Connection) -> Iterator[str]:
    """Describe for the operator where the tables differ from the kept events.

    A row that cannot be decoded is described too, and ends the comparison. Call it within one
    transaction. Raises apsw.Error if SQLite cannot read the file.
    """
    try:
        yield from _meta(db)
        _requests(db)
        kept = _expected_rows(db)
        for name, table in _TABLES.items():
            yield from _compare(db, name, table, kept[name])
    except Damaged as error:
        yield str(error)
    except UnicodeDecodeError as error:
        yield from list(_not_utf8(db)) or [f"text that is not UTF-8: {error.object!r}"]


def _meta(db: apsw.Connection) -> Iterator[str]:
    _read(lambda name: info(db, name), "", "row of", "meta")
    at, compacted = revision(db), compacted_revision(db)
    used = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'contracts'").get
    if not isinstance(used, int | None) or (used or 0) > MAX_NUMBER:
        yield f"the last id of contracts is {shortened(used)}"
    kept, last = next(
        db.execute(
            "SELECT count(DISTINCT revision), coalesce(max(revision), 0) FROM events "
            "WHERE revision > ?",  # earlier events are dropped step by step, by later commits
            (compacted,),
        )
    )
    if kept != at - compacted or (kept and last != at):
        yield (
            f"the board is at revision {at} and keeps the events after {compacted}, "
            f"but has events of {kept} revisions, the last {last}"
        )


def _requests(db: apsw.Connection) -> None:
    if db.table_exists(None, "requests"):
        for request_id, reply in db.execute("SELECT request_id, reply FROM requests"):
            _read(idempotency.read, reply, "reply", request_id)


def _expected_rows(db: apsw.Connection) -> dict[str, Rows]:
    """Read from the events the rows that each table should have; None for a removed row."""
    rows: dict[str, Rows] = {name: {} for name in _TABLES}
    for row in db.execute(
        "SELECT revision, time, change, cause, record, position FROM events "
        "WHERE revision > (SELECT compacted_revision FROM meta) ORDER BY revision, position"
    ):
        change, record = _read(events.columns, row[:-1], "event", f"{row[0]}.{row[-1]}")
        name, there = _EFFECTS[change]
        rows[name][record[0]] = record[: _TABLES[name].compared] if there else None
    return rows


def _compare(db: apsw.Connection, name: str, table: _Table, expected: Rows) -> Iterator[str]:
    found: dict[Any, Row] = {}
    for row in db.execute(table.query):
        _read(table.read, row, name, row[0])
        found[row[0]] = row[: table.compared]
    for key, row in expected.items():
        if row is None and key in found:
            yield f"{name} {key!r} is there, but the events say that it was removed"
        elif row is not None and key not in found:
            yield f"{name} {key!r} is missing, but the events have it"
        elif row is not None and row != found[key]:
            yield f"{name} {key!r} is {found[key]!r}, but the events say {row!r}"
    if not compacted_revision(db):  # no event was ever dropped
        for key in found.keys() - expected.keys():
            yield f"{name} {key!r} is there, but no event has it"


def _read(read: Callable[[Any], Any], row: Any, what: str, key: object) -> Any:
    """Decode a row; if that fails, name the row in the error."""
    try:
        return read(row)
    except Damaged as error:
        raise Damaged(f"{what} {shortened(key)} cannot be read: {error}") from error


def _not_utf8(db: apsw.Connection) -> Iterator[str]:
    """Describe texts that apsw cannot decode."""
    for table in _STORED:
        columns = [
            name for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))
        ]
        as_bytes = ", ".join(f"CAST({column} AS BLOB)" for column in columns)
        for row in db.execute(f"SELECT {as_bytes or 'NULL'} FROM {table}") if columns else ():
            for column, stored in zip(columns, row, strict=True):
                try:
                    (stored or b"").decode()
                except UnicodeDecodeError:
                    what = f"{table} {shortened(row[0])}: its {column} is not UTF-8"
                    yield f"{what}: {shortened(stored)}"
