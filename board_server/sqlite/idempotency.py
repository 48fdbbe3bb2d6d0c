"""Idempotency: the table `requests` has the outcomes of recent calls, by idempotency key."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import apsw

from board_server.errors import (
    BoardError,
    BoardReplaced,
    FileAlreadyClaimed,
    InvalidArgument,
    RevisionMismatch,
    SessionExpired,
    StateMismatch,
    Violation,
)
from board_server.model import (
    Archived,
    Completed,
    Contract,
    FileClaim,
    IdempotencyKey,
    OnExpiry,
    Phase,
    Revised,
    Session,
)
from board_server.sqlite import claims, contracts, phases
from board_server.sqlite.rows import Damaged, array, reading, shortened
from board_server.sqlite.timestamps import from_text, to_text

Outcome = Revised[Any] | BoardError

FINAL = (FileAlreadyClaimed, StateMismatch, RevisionMismatch, SessionExpired, BoardReplaced)
"""Errors that are final: a retry with the same key gets the same error.

The attributes of each are the arguments of its constructor, in the same order.
"""

ROW_OVERHEAD = 1024
"""Bytes that an outcome counts for besides its reply, so that a bound in bytes bounds the rows."""

MAX_CONFLICTS = 100
"""Most conflicts of one error that are saved; a status has room for fewer."""

MIN_DROP = 2**18
"""Bytes that one commit may always drop, however little it added."""

_MICROSECOND = timedelta(microseconds=1)


@reading()
def find(db: apsw.Connection, key: IdempotencyKey) -> Outcome | None:
    """Return the outcome of the call with this key; None if there is none.

    Raises InvalidArgument if the key was used for a different call.
    """
    row = db.execute(
        "SELECT method, payload, revision, reply FROM requests WHERE request_id = ?", (key.id,)
    ).fetchone()
    if row is None:
        return None
    method, payload, revision, reply = row
    if method is not None and (method, payload) != (key.method, key.payload):
        raise InvalidArgument([Violation("board-request-id", _other_call(method, key.method))])
    value = read(reply)
    return value if isinstance(value, BoardError) else Revised(value, revision)


def read(reply: str) -> Any:
    """Decode a reply that `save` has encoded. Raises Damaged for anything else."""
    try:
        sort, plain = array(reply)
        return _READ[sort](plain)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise Damaged(f"not a reply: {shortened(reply)}") from error


def _other_call(method: str, this: str) -> str:
    was = f"another call of {method}" if method == this else f"a call of {method}"
    return f"was used for {was} before; use a new key for each call"


def save(db: apsw.Connection, key: IdempotencyKey, value: object, revision: int) -> int:
    """Save a call's outcome, a value or one of FINAL; return the bytes that it counts for."""
    reply = _ENCODE([type(value).__name__, value])
    size = len(reply.encode()) + ROW_OVERHEAD
    db.execute(
        "INSERT INTO requests (position, request_id, method, payload, revision, reply) "
        "VALUES (coalesce((SELECT max(position) FROM requests), 0) + ?, ?, ?, ?, ?, ?)",
        (size, key.id, key.method, key.payload, revision, reply),
    )
    return size


def drop_oldest(db: apsw.Connection, added: int, keep: int) -> None:
    """Drop the oldest outcomes beyond the last `keep` bytes, after `added` bytes were added.

    Drops at most twice what was added, or MIN_DROP, so that no commit takes long.
    """
    first = int(db.execute("SELECT coalesce(min(position), 0) FROM requests").get)
    last = int(db.execute("SELECT coalesce(max(position), 0) FROM requests").get)
    if first <= last - keep - keep // 64:
        upto = min(last - keep, first + max(MIN_DROP, 2 * added))
        db.execute("DELETE FROM requests WHERE position <= ?", (upto,))


def _plain(value: Any) -> Any:
    """Convert records, errors and times to what JSON has."""
    match value:
        case datetime():
            return to_text(value)
        case timedelta():
            return value // _MICROSECOND
        case Phase() | Contract() | FileClaim() | Session():
            return [getattr(value, field) for field in value.__slots__]
        case FileAlreadyClaimed(conflicts=conflicts):
            return [conflicts[:MAX_CONFLICTS]]
        case BoardError():
            return list(vars(value).values())
        case _:
            raise TypeError(f"a reply cannot contain a {type(value).__name__}")


def _session(plain: list[Any]) -> Session:
    session_id, worker, ttl, expires_at, on_expiry = plain
    return Session(
        session_id, worker, ttl * _MICROSECOND, from_text(expires_at), OnExpiry(on_expiry)
    )


def _completed(plain: list[Any]) -> Completed:
    phase, published, released = plain
    return Completed(phases.from_row(phase), published, released)


def _claims(plain: list[Any]) -> list[FileClaim]:
    return [claims.from_row(claim) for claim in plain]


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=_plain).encode

# The fields of a record are the columns of its table, in the same order.
_READ: dict[str, Callable[[Any], Any]] = {
    int.__name__: int,
    Phase.__name__: phases.from_row,
    Contract.__name__: contracts.from_row,
    list.__name__: _claims,
    Session.__name__: _session,
    Completed.__name__: _completed,
    Archived.__name__: lambda plain: Archived(*plain),
    FileAlreadyClaimed.__name__: lambda plain: FileAlreadyClaimed(_claims(plain[0])),
    **{
        error.__name__: lambda plain, error=error: error(*plain)  # type: ignore[misc]
        for error in (StateMismatch, RevisionMismatch, SessionExpired, BoardReplaced)
    },
}
