"""Transaction: what one write call sees and does, and the events that it leaves."""

from datetime import datetime
from functools import cache
from itertools import groupby

import apsw

from board_server.model import Cause, Change, Commit, Event, Record
from board_server.sqlite.rows import Row
from board_server.sqlite.timestamps import to_text


class Transaction:
    """One write call: the database, one reading of the clock, and what it has changed."""

    def __init__(self, db: apsw.Connection, moment: datetime, revision: int) -> None:
        self.db = db
        self.moment = moment
        self.now = to_text(moment)
        self._revision = revision
        self._events: list[Event] = []
        self._rows: list[Row] = []

    @property
    def revision(self) -> int:
        """The board's revision as the call leaves it: one more if it changed anything."""
        return self._revision + bool(self._events)

    def record(self, change: Change, record: Record, row: Row, cause: Cause = Cause.CALL) -> None:
        """Note a change; `row` is the record as its table has it."""
        self._events.append(Event(change, cause, record))
        self._rows.append((change, cause, *row))

    def finish(self) -> Commit | None:
        """Write the events beside their changes; None if there are none."""
        if not self._events:
            return None
        head = self.revision, self.now
        rows = [(position, *head, *row) for position, row in enumerate(self._rows)]
        for width, alike in groupby(rows, key=len):
            self.db.executemany(_insert(width), alike)
        return Commit(self.revision, self.moment, tuple(self._events))


@cache
def _insert(width: int) -> str:
    """Make the INSERT of events with so many values, those of the record among them."""
    record = ", ".join("?" * (width - 5))
    return (
        "INSERT INTO events (position, revision, time, change, cause, record) "
        f"VALUES (?, ?, ?, ?, ?, json_array({record}))"
    )
