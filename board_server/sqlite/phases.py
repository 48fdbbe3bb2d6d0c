"""The table `board`: one row per phase."""

import json
from collections.abc import Sequence

import apsw

from board_server.errors import StateMismatch
from board_server.model import Page, PageRequest, Phase, PhaseChange, PhaseState
from board_server.sqlite.page import Row, cut
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.writer import Transaction

_COLUMNS = "task_id, state, worker, posted_at, updated_at"

_POSTED = "replace(rtrim(posted_at, 'Z'), 'T', ' ')"  # as the index has it

_UPSERT = f"""
INSERT INTO board ({_COLUMNS}) VALUES (:phase_id, :state, coalesce(:worker, ''), :now, :now)
ON CONFLICT (task_id) DO UPDATE SET
    state = excluded.state,
    worker = coalesce(:worker, worker),
    updated_at = CASE  -- a clock set back must not take it back
        WHEN replace(rtrim(updated_at, 'Z'), 'T', ' ') < :now THEN :now ELSE updated_at END
RETURNING {_COLUMNS}
"""

_STATES = {state.value: state for state in PhaseState}


def set_state(tx: Transaction, change: PhaseChange) -> Phase:
    """Store.set_phase_state."""
    if change.expected_state is not None:
        current = get(tx.db, change.phase_id)
        if current is None or current.state != change.expected_state:
            actual = current.state.value if current else ""
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
    tx.changed()
    return _phase(next(rows))


def get(db: apsw.Connection, phase_id: str) -> Phase | None:
    """Store.get_phase_state."""
    row = db.execute(f"SELECT {_COLUMNS} FROM board WHERE task_id = ?", (phase_id,)).fetchone()
    return _phase(row) if row else None


def list_page(
    db: apsw.Connection, revision: int, states: Sequence[PhaseState], page: PageRequest
) -> Page[Phase]:
    """Store.list_phases."""
    posted_at, phase_id = page.after or ("", "")
    rows = db.execute(
        f"""
        SELECT {_COLUMNS}, {_POSTED} FROM board
        WHERE ({_POSTED}, task_id) > (:posted_at, :phase_id)
          AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
        ORDER BY {_POSTED}, task_id
        """,
        {"posted_at": posted_at, "phase_id": phase_id, "states": json.dumps(states)},
    )
    items, more = cut(rows, page, lambda row: (_phase(row), row[-1]))
    after = (items[-1][1], items[-1][0].phase_id) if more else None
    return Page([phase for phase, _ in items], revision, after)


def _phase(row: Row) -> Phase:
    phase_id, state, worker, posted_at, updated_at, *_ = row
    return Phase(
        phase_id,
        _STATES.get(state, PhaseState.UNSPECIFIED),
        worker,
        from_text(posted_at),
        from_text(updated_at),
    )
