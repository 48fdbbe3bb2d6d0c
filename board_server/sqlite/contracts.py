"""The table `contracts`: one row per producer, kind and name."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

from board_server.model import (
    Cause,
    Change,
    Contract,
    ContractCondition,
    ContractDraft,
    ContractFilter,
    ContractKind,
    ContractStatus,
    Page,
    PageRequest,
)
from board_server.sqlite.page import take_page
from board_server.sqlite.rows import Columns, Damaged, Row, shortened
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.transaction import Transaction

_COLUMNS = "id, producer, kind, name, signature, package, status, created_at"

# Finds existing contracts, and which fields a draft changes. An upsert would use up an id
# and write even if nothing changes.
_FIND = """
SELECT ?, id, created_at, package = ?, (signature, status) = (?, ?)
FROM contracts WHERE (producer, kind, name) = (?, ?, ?)
"""

_INSERT = """
INSERT INTO contracts (producer, kind, name, signature, package, status, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id
"""

_UPDATE = "UPDATE contracts SET signature = ?, status = ? WHERE id = ?"

# A statement of its own, because it updates an index.
_MOVE = "UPDATE contracts SET package = ? WHERE id = ?"

_INDEXES = {
    "name": {"name", "kind", "producer"},
    "producer": {"producer"},
    "package": {"package"},
    "kind": {"kind"},
}
"""The index to use for a condition on several columns: that of the first column listed here.

The most selective column is first. The values are the columns of that index."""

_ROW = Columns(
    id=int,
    producer=str,
    kind=str,
    name=str,
    signature=str,
    package=str,
    status=str,
    created_at=str,
)

_LAST_ID = 2**63 - 1
"""The largest rowid of SQLite."""

_KINDS = {kind.value: kind for kind in ContractKind}
_STATUSES = {status.value: status for status in ContractStatus}


def publish(tx: Transaction, draft: ContractDraft) -> Contract:
    """Store.publish_contract."""
    (contract,) = _publish(tx, [draft])
    return contract


def publish_batch(tx: Transaction, drafts: Sequence[ContractDraft]) -> int:
    """Store.publish_contracts."""
    distinct = {draft.key: draft for draft in drafts}
    return len(_publish(tx, list(distinct.values())))


def _publish(tx: Transaction, drafts: Sequence[ContractDraft]) -> list[Contract]:
    """Publish drafts with distinct keys, with one statement for all of them."""
    found: dict[Any, Any] = {
        place: existing
        for place, *existing in tx.db.executemany(
            _FIND,
            (
                (place, draft.package, draft.signature, draft.status, *draft.key)
                for place, draft in enumerate(drafts)
            ),
        )
    }
    inserted = tx.db.executemany(
        _INSERT,
        (
            (*draft.key, draft.signature, draft.package, draft.status, tx.now)
            for place, draft in enumerate(drafts)
            if place not in found
        ),
    ).fetchall()
    ids: Iterator[Any] = (row[0] for row in inserted)
    updates, moves, published = [], [], []
    for place, draft in enumerate(drafts):
        if place not in found:
            id_, created_at, stays, same = next(ids), tx.now, True, False
        else:
            id_, created_at, stays, same = found[place]
            if not same:
                updates.append((draft.signature, draft.status, id_))
            if not stays:
                moves.append((draft.package, id_))
        contract = _contract(id_, draft, created_at)
        if not (stays and same):
            row = (id_, *draft.key, draft.signature, draft.package, draft.status, created_at)
            tx.record(Change.CONTRACT, contract, row)
        published.append(contract)
    tx.db.executemany(_UPDATE, updates)
    tx.db.executemany(_MOVE, moves)
    return published


def _contract(id_: int, draft: ContractDraft, created_at: str) -> Contract:
    return Contract(
        id_,
        draft.producer,
        draft.kind,
        draft.name,
        draft.signature,
        draft.package,
        draft.status,
        from_text(created_at),
    )


def remove_all(tx: Transaction) -> int:
    """Remove all contracts, for Store.archive_board; return how many."""
    rows = tx.db.execute(
        "SELECT id, producer, kind, name, '', package, status, created_at "
        "FROM contracts ORDER BY id"
    ).fetchall()
    for row in rows:
        tx.record(Change.CONTRACT_REMOVED, from_row(row), row, Cause.ARCHIVE)
    tx.db.execute("DELETE FROM contracts")
    return len(rows)


def first(db: apsw.Connection, condition: ContractCondition) -> Contract | None:
    """Read the contract with the lowest id that meets the condition; None if there is none."""
    wanted = _wanted(condition, "producer", "kind", "name", "package")
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM contracts WHERE true{_and(wanted)} ORDER BY id LIMIT 1",
        tuple(wanted.values()),
    )
    row = next(rows, None)
    return from_row(row) if row else None


def list_page(
    db: apsw.Connection, revision: int, where: ContractFilter, page: PageRequest
) -> Page[Contract]:
    """Store.list_contracts."""
    wanted = _wanted(where, "producer", "kind", "name", "package", "status")
    after = page.after[0] if page.after else 0
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM contracts WHERE id > ?{_and(wanted)} ORDER BY id",
        (after, *wanted.values()),
    )
    items, more = take_page(rows, page, from_row)
    return Page(items, revision, (items[-1].id,) if more else None)


def _wanted(where: ContractCondition | ContractFilter, *columns: str) -> dict[str, str]:
    """Return the columns that are not None, with their values."""
    return {column: value for column in columns if (value := getattr(where, column)) is not None}


def _and(wanted: Iterable[str]) -> str:
    """Return the comparisons of a WHERE clause; a "+" keeps SQLite from using an index.

    Otherwise it may choose the index on `kind`, which finds much of the table, instead of the
    one on `package`, which finds a few rows.
    """
    columns = set(wanted)
    looked_up = next((index for finest, index in _INDEXES.items() if finest in columns), set())
    return "".join(f" AND {'' if each in looked_up else '+'}{each} = ?" for each in wanted)


def from_row(row: Row) -> Contract:
    """Decode a row of `contracts`. Raises Damaged."""
    id_, producer, kind, name, signature, package, status, created_at = _ROW.check(row)
    if not 0 < id_ <= _LAST_ID:
        raise Damaged(f"its id is {shortened(id_)}")
    return Contract(
        id_,
        producer,
        _KINDS.get(kind, ContractKind.UNSPECIFIED),
        name,
        signature,
        package,
        _STATUSES.get(status, ContractStatus.UNSPECIFIED),
        from_text(created_at),
    )
