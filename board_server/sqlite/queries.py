"""Reads of several tables: counts, snapshots, and the conditions of WaitFor."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import apsw

from board_server.model import (
    Condition,
    ContractCondition,
    ContractFilter,
    Evidence,
    FileCondition,
    Page,
    PageRequest,
    PhaseCondition,
    Snapshot,
)
from board_server.sqlite import claims, contracts, phases, sessions
from board_server.sqlite.meta import info

T = TypeVar("T")

_PAGE = 10_000

_RECORD_OVERHEAD = 100
"""Bytes of a record on the wire besides its text: its times, session ID, numbers and tags."""

_SNAPSHOT_SIZE = " UNION ALL ".join(  # SQLite finds the length of a text without reading it
    f"SELECT coalesce(sum({' + '.join(f'octet_length({column})' for column in columns)}"
    f" + {_RECORD_OVERHEAD}), 0) FROM {table}"
    for table, columns in {
        "board": ("task_id", "worker"),
        "contracts": ("producer", "name", "signature", "package"),
        "file_claims": ("filepath", "owner_task"),
        "sessions": ("worker",),
    }.items()
)


def counts(db: apsw.Connection, revision: int) -> tuple[int, int, int, int, int]:
    """Read the revision, and the numbers of phases, contracts, claims and sessions."""
    phases, contracts, claims, sessions = next(
        db.execute(
            "SELECT (SELECT count(*) FROM board), (SELECT count(*) FROM contracts),"
            " (SELECT count(*) FROM file_claims), (SELECT count(*) FROM sessions)"
        )
    )
    return revision, phases, contracts, claims, sessions


def snapshot(db: apsw.Connection, revision: int) -> Snapshot:
    """Store.get_snapshot, with the sessions' expiry at their opening."""
    return Snapshot(
        board_id=info(db, "").board_id,
        revision=revision,
        phases=_all(lambda page: phases.list_page(db, revision, (), page)),
        contracts=_all(lambda page: contracts.list_page(db, revision, ContractFilter(), page)),
        claims=_all(lambda page: claims.list_page(db, revision, None, page)),
        sessions=_all(lambda page: sessions.list_page(db, revision, page)),
    )


def snapshot_size(db: apsw.Connection, _revision: int) -> int:
    """Store.snapshot_size."""
    sizes: list[int] = [size for (size,) in db.execute(_SNAPSHOT_SIZE)]
    return _RECORD_OVERHEAD + sum(sizes)


def find(db: apsw.Connection, conditions: Sequence[Condition]) -> list[Evidence]:
    """Store.find."""
    return [_evidence(db, condition) for condition in conditions]


def _evidence(db: apsw.Connection, condition: Condition) -> Evidence:
    match condition:
        case PhaseCondition(phase_id, states):
            phase = phases.get(db, phase_id)
            return phase if phase and phase.state in states else None
        case ContractCondition():
            return contracts.first(db, condition)
        case FileCondition(filepath):
            return None if claims.owner_of(db, filepath) else condition


def _all(read: Callable[[PageRequest], Page[T]]) -> list[T]:
    return list(_pages(read))


def _pages(read: Callable[[PageRequest], Page[T]]) -> Iterator[T]:
    request: PageRequest | None = PageRequest(_PAGE)
    while request:
        page = read(request)
        yield from page.items
        request = PageRequest(_PAGE, page.next) if page.next else None
