"""The table `events`: what every revision changed, as long as it is kept."""

import json
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter

import apsw

from board_server.errors import RevisionCompacted
from board_server.model import Cause, Change, Commit, Event, Record
from board_server.sqlite import claims, contracts, phases, sessions
from board_server.sqlite.page import MAX_TEXT, Row, utf8_length
from board_server.sqlite.timestamps import from_text

_READ: dict[Change, Callable[[Row], Record]] = {
    Change.PHASE: phases.from_row,
    Change.CONTRACT: contracts.from_row,
    Change.CLAIMED: claims.from_row,
    Change.RELEASED: claims.from_row,
    Change.SESSION_OPENED: sessions.from_row,
    Change.SESSION_ENDED: sessions.from_row,
    Change.PHASE_REMOVED: phases.from_row,
    Change.CONTRACT_REMOVED: contracts.from_row,
}


def list_commits(db: apsw.Connection, after: int, upto: int) -> list[Commit]:
    """Store.list_events."""
    oldest = int(db.execute("SELECT compacted_revision FROM meta").get)
    if after < oldest:
        raise RevisionCompacted(after, oldest)
    rows = db.execute(
        "SELECT revision, time, change, cause, record FROM events "
        "WHERE revision > ? AND revision <= ? ORDER BY revision, position",
        (after, upto),
    )
    return list(_some_commits(rows))


def _some_commits(rows: Iterator[Row]) -> Iterator[Commit]:
    room = MAX_TEXT
    for revision, group in groupby(rows, key=itemgetter(0)):
        changes = list(group)
        time = from_text(changes[0][1])
        yield Commit(revision, time, tuple(_event(row) for row in changes))
        room -= sum(utf8_length(row[-1]) for row in changes)
        if room < 0:
            return


def _event(row: Row) -> Event:
    _, _, word, cause, record = row
    change = Change(word)
    return Event(change, Cause(cause), _READ[change](json.loads(record)))


def compact(db: apsw.Connection, revision: int, keep: int) -> int:
    """Drop the events of all but the last `keep` revisions, a tenth of them at a time.

    Returns the revision from which on there is more to drop.
    """
    oldest = int(db.execute("SELECT compacted_revision FROM meta").get)
    slack = max(1, keep // 10)
    if revision - oldest >= keep + slack:
        oldest = revision - keep
        db.execute("DELETE FROM events WHERE revision <= ?", (oldest,))
        db.execute("UPDATE meta SET compacted_revision = ?", (oldest,))
    return oldest + keep + slack
