"""Transaction: what one write call sees and does, and the events that it leaves."""

import json
from datetime import datetime

import apsw

from board_server.model import Cause, Change, Commit, Event, Record
from board_server.sqlite.page import Row
from board_server.sqlite.timestamps import to_text


class Transaction:
    """One write call: the database, one reading of the clock, and what it has changed."""

    def __init__(self, db: apsw.Connection, moment: datetime, revision: int) -> None:
        self.db = db
        self.moment = moment
        self.now = to_text(moment)
        self._revision = revision
        self._events: list[Event] = []
        self._rows: list[tuple[str, str, str]] = []

    @property
    def revision(self) -> int:
        """The board's revision as the call leaves it: one more if it changed anything."""
        return self._revision + bool(self._events)

    def record(self, change: Change, record: Record, row: Row, cause: Cause = Cause.CALL) -> None:
        """Note a change; `row` is the record as its table has it."""
        self._events.append(Event(change, cause, record))
        self._rows.append((change.value, cause.value, json.dumps(row, ensure_ascii=False)))

    def finish(self) -> Commit | None:
        """Write the events beside their changes; None if there are none."""
        if not self._events:
            return None
        self.db.executemany(
            "INSERT INTO events (revision, position, time, change, cause, record) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            ((self.revision, position, self.now, *row) for position, row in enumerate(self._rows)),
        )
        return Commit(self.revision, self.moment, tuple(self._events))
