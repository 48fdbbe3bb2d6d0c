"""The table `sessions`: one row per live session, and what its end does."""

import secrets
from dataclasses import replace
from datetime import datetime, timedelta

import apsw

from board_server.errors import SessionExpired
from board_server.model import Cause, Change, OnExpiry, Page, PageRequest, PhaseState, Session
from board_server.sqlite import claims, phases
from board_server.sqlite.page import take_page
from board_server.sqlite.rows import Columns, Damaged, Row, enum_member, reading, shortened
from board_server.sqlite.timestamps import from_text, to_text
from board_server.sqlite.transaction import Transaction

_COLUMNS = "session_id, worker, ttl_ms, on_expiry, opened_at"

_BY_ID = f"SELECT {_COLUMNS} FROM sessions WHERE session_id = ?"

_ROW = Columns(session_id=str, worker=str, ttl_ms=int, on_expiry=str, opened_at=str)

_LONGEST = 10**12
"""Milliseconds, thirty years: longer than any ttl that is accepted."""

_MILLISECOND = timedelta(milliseconds=1)


def require(tx: Transaction, session_id: str) -> None:
    """Raise SessionExpired unless the session is alive."""
    if not get(tx.db, session_id):
        raise SessionExpired(session_id)


def open_session(tx: Transaction, worker: str, ttl: timedelta, on_expiry: OnExpiry) -> Session:
    """Store.open_session."""
    session_id = secrets.token_hex(16)
    values = (session_id, worker, ttl // _MILLISECOND, on_expiry.value, tx.now)
    tx.db.execute(f"INSERT INTO sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", values)
    return _record(tx, Change.SESSION_OPENED, values, tx.moment + ttl, Cause.CALL)


def end(tx: Transaction, session_id: str, cause: Cause) -> int:
    """End a session: release its claims, set its phases, delete it. Return the claims released.

    Raises SessionExpired if it has ended already.
    """
    row = tx.db.execute(_BY_ID, (session_id,)).fetchone()
    if row is None:
        raise SessionExpired(session_id)
    _, _, _, on_expiry, _ = row
    released = claims.release_bound(tx, session_id, cause)
    requeue = on_expiry == OnExpiry.REQUEUE
    state = PhaseState.QUEUED if requeue else PhaseState.FAILED
    phases.end_bound(tx, session_id, state, cause)
    tx.db.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))
    _record(tx, Change.SESSION_ENDED, row, tx.moment, cause)
    return released


def get(db: apsw.Connection, session_id: str) -> Session | None:
    """Read a session, with the expiry that it had when it was opened; None if it has ended."""
    row = db.execute(_BY_ID, (session_id,)).fetchone()
    return opened(row) if row else None


@reading()
def ttls(db: apsw.Connection) -> list[tuple[str, timedelta]]:
    """Read the ID and ttl of each live session."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM sessions")
    return [(session.session_id, session.ttl) for session in map(from_row, rows)]


def list_page(db: apsw.Connection, revision: int, page: PageRequest) -> Page[Session]:
    """Read a page of sessions, each with the expiry that it had when it was opened."""
    after = page.after[0] if page.after else ""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM sessions WHERE session_id > ? ORDER BY session_id", (after,)
    )
    items, more = take_page(rows, page, opened)
    return Page(items, revision, (items[-1].session_id,) if more else None)


def from_row(row: Row) -> Session:
    """Decode a session of an event, whose last column is its expiry. Raises Damaged."""
    session_id, worker, ttl_ms, on_expiry, expires_at = _ROW.check(row)
    if not 0 < ttl_ms <= _LONGEST:
        raise Damaged(f"its ttl_ms is {shortened(ttl_ms)}")
    ttl = ttl_ms * _MILLISECOND
    return Session(session_id, worker, ttl, from_text(expires_at), enum_member(OnExpiry, on_expiry))


def opened(row: Row) -> Session:
    """Decode a row of `sessions`, with the expiry at its opening. Raises Damaged."""
    session = from_row(row)
    try:
        return replace(session, expires_at=session.expires_at + session.ttl)
    except OverflowError as error:
        raise Damaged(f"its opened_at is {row[-1]!r}") from error


def _record(
    tx: Transaction, change: Change, row: Row, expires_at: datetime, cause: Cause
) -> Session:
    event_row = (*row[:-1], to_text(expires_at))
    session = from_row(event_row)
    tx.record(change, session, event_row, cause)
    return session
