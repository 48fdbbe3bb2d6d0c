"""Transaction: the database and the time for one write, and the events that it records."""

from datetime import datetime
from functools import cache
from itertools import groupby

import apsw

from board_server.model import Cause, Change, Commit, Event, Record
from board_server.sqlite.rows import Row
from board_server.sqlite.timestamps import to_text


class Transaction:
    """One write: its database, its time, and its changes so far."""

    def __init__(self, db: apsw.Connection, moment: datetime, revision: int) -> None:
        self.db = db
        self.moment = moment
        self.now = to_text(moment)
        self._revision = revision
        self._events: list[Event] = []
        self._rows: list[Row] = []

    @property
    def revision(self) -> int:
        """The board's revision after the write: one more if it has changed anything."""
        return self._revision + bool(self._events)

    def record(self, change: Change, record: Record, row: Row, cause: Cause = Cause.CALL) -> None:
        """Record a change; `row` has the record's columns."""
        self._events.append(Event(change, cause, record))
        self._rows.append((change, cause, *row))

    def finish(self) -> Commit | None:
        """Write the events, and return the commit; None if nothing changed."""
        if not self._events:
            return None
        head = self.revision, self.now
        rows = [(position, *head, *row) for position, row in enumerate(self._rows)]
        for width, alike in groupby(rows, key=len):
            self.db.executemany(_insert(width), alike)
        return Commit(self.revision, self.moment, tuple(self._events))


@cache
def _insert(width: int) -> str:
    """Return the INSERT for events with `width` values, including those of the record."""
    record = ", ".join("?" * (width - 5))
    return (
        "INSERT INTO events (position, revision, time, change, cause, record) "
        f"VALUES (?, ?, ?, ?, ?, json_array({record}))"
    )
