"""The table `requests`: what recent calls were answered, for callers that lost the reply."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import apsw

from board_server.model import (
    Archived,
    Completed,
    Contract,
    FileClaim,
    OnExpiry,
    Phase,
    Revised,
    Session,
)
from board_server.sqlite import claims, contracts, phases
from board_server.sqlite.timestamps import from_text, to_text

KEPT = 50_000
"""Revisions whose replies are kept: ten seconds of the most that one board can
write, and a client gives up within its deadline."""

_STEP = KEPT // 10

_MICROSECOND = timedelta(microseconds=1)


def answer(db: apsw.Connection, request_id: str) -> Revised[Any] | None:
    """Return what the call of this ID was answered; None when none is known to have been made."""
    row = db.execute(
        "SELECT revision, reply FROM requests WHERE request_id = ?", (request_id,)
    ).fetchone()
    if row is None:
        return None
    revision, reply = row
    sort, plain = json.loads(reply)
    return Revised(_READ[sort](plain), revision)


def remember(db: apsw.Connection, request_id: str, answered: Revised[Any]) -> None:
    """Keep the answer of a call that has made a revision."""
    value, revision = answered
    reply = _ENCODE([type(value).__name__, value])
    db.execute(
        "INSERT INTO requests (revision, request_id, reply) VALUES (?, ?, ?)",
        (revision, request_id, reply),
    )


def forget(db: apsw.Connection, before: int, revision: int) -> None:
    """Drop what is too old, now and then, as the board goes from one revision to another."""
    if before // _STEP != revision // _STEP:
        db.execute("DELETE FROM requests WHERE revision <= ?", (revision - KEPT,))


def _plain(value: Any) -> Any:
    """Take apart what JSON has no word for: the model's records, and times."""
    match value:
        case datetime():
            return to_text(value)
        case timedelta():
            return value // _MICROSECOND
        case Phase() | Contract() | FileClaim() | Session():
            return [getattr(value, field) for field in value.__slots__]
        case _:
            raise TypeError(f"no reply holds a {type(value).__name__}")


def _session(plain: list[Any]) -> Session:
    session_id, worker, ttl, expires_at, on_expiry = plain
    return Session(
        session_id, worker, ttl * _MICROSECOND, from_text(expires_at), OnExpiry(on_expiry)
    )


def _completed(plain: list[Any]) -> Completed:
    phase, published, released = plain
    return Completed(phases.from_row(phase), published, released)


_ENCODE = json.JSONEncoder(ensure_ascii=False, default=_plain).encode

# A record's fields are its table's columns, in their order.
_READ: dict[str, Callable[[Any], Any]] = {
    int.__name__: int,
    Phase.__name__: phases.from_row,
    Contract.__name__: contracts.from_row,
    list.__name__: lambda plain: [claims.from_row(claim) for claim in plain],
    Session.__name__: _session,
    Completed.__name__: _completed,
    Archived.__name__: lambda plain: Archived(*plain),
}
