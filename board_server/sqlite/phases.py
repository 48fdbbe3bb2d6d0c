"""The tables `board`, one row per phase, and `phase_sessions`, the sessions they are bound to."""

import json
from collections.abc import Sequence

import apsw

from board_server.errors import StateMismatch
from board_server.model import Cause, Change, Page, PageRequest, Phase, PhaseChange, PhaseState
from board_server.sqlite.page import take_page
from board_server.sqlite.rows import Columns, Row
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.transaction import Transaction

_COLUMNS = "task_id, state, worker, posted_at, updated_at"

_SELECT = f"""
SELECT {_COLUMNS}, coalesce(session_id, '') FROM board LEFT JOIN phase_sessions USING (task_id)
"""

# Not the join: SQLite plans it again for each value, which takes three times as long.
_POINT = f"""
SELECT {_COLUMNS}, coalesce((SELECT session_id FROM phase_sessions WHERE task_id = ?1), '')
FROM board WHERE task_id = ?1
"""

_POSTED = "replace(rtrim(posted_at, 'Z'), 'T', ' ')"  # the expression of the index

_UPSERT = f"""
INSERT INTO board ({_COLUMNS}) VALUES (:phase_id, :state, coalesce(:worker, ''), :now, :now)
ON CONFLICT (task_id) DO UPDATE SET
    state = excluded.state,
    worker = coalesce(:worker, worker),
    updated_at = CASE  -- it must not go back when the clock does
        WHEN replace(rtrim(updated_at, 'Z'), 'T', ' ') < :now THEN :now ELSE updated_at END
RETURNING {_COLUMNS}, EXISTS (SELECT 1 FROM phase_sessions WHERE task_id = :phase_id)
"""

_BIND = """
INSERT INTO phase_sessions (task_id, session_id) VALUES (?, ?)
ON CONFLICT (task_id) DO UPDATE SET session_id = excluded.session_id
"""

_ROW = Columns(phase_id=str, state=str, worker=str, posted_at=str, updated_at=str, session_id=str)

_STATES = {state.value: state for state in PhaseState}


def set_state(tx: Transaction, change: PhaseChange, cause: Cause = Cause.CALL) -> Phase:
    """Store.set_phase_state, for a live session."""
    if change.expected_state is not None:
        current = get(tx.db, change.phase_id)
        if (current.state if current else None) != (change.expected_state or None):
            actual = (current.state.value or "unknown") if current else ""
            raise StateMismatch(change.phase_id, change.expected_state, actual)
    rows = tx.db.execute(
        _UPSERT,
        {
            "phase_id": change.phase_id,
            "state": change.state.value,
            "worker": change.worker,
            "now": tx.now,
        },
    )
    *row, bound = next(rows)
    row = (*row, _bind(tx, change, bound=bool(bound)))
    phase = from_row(row)
    tx.record(Change.PHASE, phase, row, cause)
    return phase


def _bind(tx: Transaction, change: PhaseChange, *, bound: bool) -> str:
    """Bind a phase that runs in a session, unbind any other; return the session's ID."""
    if change.state is PhaseState.RUNNING and change.session_id:
        tx.db.execute(_BIND, (change.phase_id, change.session_id))
        return change.session_id
    if bound:
        tx.db.execute("DELETE FROM phase_sessions WHERE task_id = ?", (change.phase_id,))
    return ""


def end_bound(tx: Transaction, session_id: str, state: PhaseState, cause: Cause) -> None:
    """Set the state of phases that run in an ending session; QUEUED clears their worker."""
    bound = tx.db.execute(
        "SELECT task_id FROM phase_sessions JOIN board USING (task_id) "
        "WHERE session_id = ? AND state = ? ORDER BY task_id",
        (session_id, PhaseState.RUNNING.value),
    ).fetchall()
    worker = "" if state is PhaseState.QUEUED else None
    for (phase_id,) in bound:
        set_state(tx, PhaseChange(str(phase_id), state, worker), cause)


def remove_all(tx: Transaction) -> int:
    """Remove all phases, for Store.archive_board; return how many."""
    rows = tx.db.execute(f"{_SELECT} ORDER BY {_POSTED}, task_id").fetchall()
    for row in rows:
        tx.record(Change.PHASE_REMOVED, from_row(row), row, Cause.ARCHIVE)
    tx.db.execute("DELETE FROM board")
    return len(rows)


def get(db: apsw.Connection, phase_id: str) -> Phase | None:
    """Store.get_phase_state."""
    row = db.execute(_POINT, (phase_id,)).fetchone()
    return from_row(row) if row else None


def list_page(
    db: apsw.Connection, revision: int, states: Sequence[PhaseState], page: PageRequest
) -> Page[Phase]:
    """Store.list_phases."""
    posted_at, phase_id = page.after or ("", "")
    rows = db.execute(
        f"""
        {_SELECT}
        WHERE ({_POSTED}, task_id) > (:posted_at, :phase_id)
          AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
        ORDER BY {_POSTED}, task_id
        """,
        {"posted_at": posted_at, "phase_id": phase_id, "states": json.dumps(states)},
    )
    items, more = take_page(rows, page, lambda row: (row[3], from_row(row)))
    after = (_order(items[-1][0]), items[-1][1].phase_id) if more else None
    return Page([phase for _, phase in items], revision, after)


def _order(posted_at: str) -> str:
    """Convert a timestamp as _POSTED does."""
    return posted_at.rstrip("Z").replace("T", " ")


def from_row(row: Row) -> Phase:
    """Decode a row of `board`, followed by its session_id. Raises Damaged."""
    phase_id, state, worker, posted_at, updated_at, session_id = _ROW.check(row)
    return Phase(
        phase_id,
        _STATES.get(state, PhaseState.UNSPECIFIED),
        worker,
        from_text(posted_at),
        from_text(updated_at),
        session_id,
    )
