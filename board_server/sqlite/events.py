"""The table `events`: the changes of each revision, and their compaction."""

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter

import apsw

from board_server.errors import RevisionCompacted
from board_server.model import Cause, Change, Commit, Event, Record
from board_server.sqlite import claims, contracts, phases, sessions
from board_server.sqlite.meta import compacted_revision
from board_server.sqlite.page import utf8_length
from board_server.sqlite.rows import Damaged, Row, array, enum_member, shortened
from board_server.sqlite.timestamps import from_text
from board_server.store import MAX_PAGE_BYTES

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
    oldest = compacted_revision(db)
    if after < oldest:
        raise RevisionCompacted(after, oldest)
    rows = db.execute(
        "SELECT revision, time, change, cause, record FROM events "
        "WHERE revision > ? AND revision <= ? ORDER BY revision, position",
        (after, upto),
    )
    return list(_some_commits(rows))


def _some_commits(rows: Iterator[Row]) -> Iterator[Commit]:
    room = MAX_PAGE_BYTES
    for revision, group in groupby(rows, key=itemgetter(0)):
        changes = list(group)
        time = from_text(changes[0][1])
        yield Commit(revision, time, tuple(_event(row) for row in changes))
        room -= sum(utf8_length(row[-1]) for row in changes)
        if room < 0:
            return


def _event(row: Row) -> Event:
    _, _, change, cause, text = row
    return _decoded(change, cause, array(text))


def _decoded(name: str, cause: str, values: Row) -> Event:
    change = enum_member(Change, name)
    return Event(change, enum_member(Cause, cause), _READ[change](values))


def columns(row: Row) -> tuple[Change, Row]:
    """Decode a row of `events` to its change and its record's columns. Raises Damaged."""
    _, time, change, cause, text = row
    from_text(time)
    values = array(text)
    return _decoded(change, cause, values).change, values


ROW_OVERHEAD = 100
"""Bytes that an event counts for besides its record: its time, change, cause and key."""

MIN_DROP = 2**18
"""Bytes that one commit may always drop, however little it added."""

_SIZE = f"octet_length(record) + {ROW_OVERHEAD}"

_FINISH_COMMIT = f"""
UPDATE meta SET revision = ?1, event_bytes = event_bytes
    + (SELECT coalesce(sum({_SIZE}), 0) FROM events WHERE revision > ?2)
RETURNING compacted_revision, event_bytes
"""

RECOUNT = f"UPDATE meta SET event_bytes = (SELECT coalesce(sum({_SIZE}), 0) FROM events)"
"""Count the bytes of the kept events again."""


def finish_commit(
    db: apsw.Connection, before: int, revision: int, keep_revisions: int, keep_bytes: int
) -> None:
    """Write the board's new revision, and drop events that are too old.

    The events of the last `keep_revisions` are kept, up to `keep_bytes`; those of the last
    revision always. Some slack lets most commits skip the compaction.
    """
    compacted, size = next(db.execute(_FINISH_COMMIT, (revision, before)))
    if not isinstance(compacted, int) or not isinstance(size, int):
        raise Damaged(f"meta has compacted_revision, event_bytes {shortened((compacted, size))}")
    late = revision - compacted >= keep_revisions + max(1, min(keep_revisions // 10, 1000))
    if late or size > keep_bytes + min(keep_bytes // 10, MIN_DROP):
        _compact(db, before, revision, max(compacted, revision - keep_revisions), size - keep_bytes)


def _compact(db: apsw.Connection, before: int, revision: int, floor: int, excess: int) -> None:
    """Drop events up to the revision `floor`, and more until `excess` bytes are dropped.

    One commit drops at most twice what it has added, or MIN_DROP. A revision whose events are
    partly dropped counts as compacted; the next commits drop the rest.
    """
    (added,) = next(db.execute(f"SELECT sum({_SIZE}) FROM events WHERE revision > ?", (before,)))
    step = max(MIN_DROP, 2 * added)
    dropped, last = 0, None
    oldest = db.execute(
        f"SELECT revision, position, {_SIZE} FROM events WHERE revision < ? "
        "ORDER BY revision, position",
        (revision,),
    )
    for at, position, size in oldest:
        if at > floor and dropped < excess:
            floor = at
        if at > floor or dropped >= step:
            break
        last = at, position
        dropped += size
    if last:
        db.execute("DELETE FROM events WHERE (revision, position) <= (?, ?)", last)
        db.execute(
            "UPDATE meta SET compacted_revision = max(compacted_revision, ?), "
            "event_bytes = event_bytes - ?",
            (last[0], dropped),
        )
