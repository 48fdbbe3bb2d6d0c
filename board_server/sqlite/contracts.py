"""The table `contracts`: one row per producer, kind and name."""

from collections.abc import Iterator, Sequence
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
from board_server.sqlite.page import Row, cut
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.transaction import Transaction

_COLUMNS = "id, producer, kind, name, signature, package, status, created_at"

# Which drafts are there already, and what they change. Not an upsert, which would
# use up an id, and write, where nothing changes.
_FIND = """
SELECT ?, id, created_at, package = ?, (signature, status) = (?, ?)
FROM contracts WHERE (producer, kind, name) = (?, ?, ?)
"""

_INSERT = """
INSERT INTO contracts (producer, kind, name, signature, package, status, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id
"""

_UPDATE = "UPDATE contracts SET signature = ?, status = ? WHERE id = ?"

# By itself, because it touches an index.
_MOVE = "UPDATE contracts SET package = ? WHERE id = ?"

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
    """Publish drafts of distinct keys: a statement for all of them, not for each."""
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
    """Remove every contract, for Store.archive_board; return how many there were."""
    rows = tx.db.execute(
        "SELECT id, producer, kind, name, '', package, status, created_at "
        "FROM contracts ORDER BY id"
    ).fetchall()
    for row in rows:
        tx.record(Change.CONTRACT_REMOVED, from_row(row), row, Cause.ARCHIVE)
    tx.db.execute("DELETE FROM contracts")
    return len(rows)


def first(db: apsw.Connection, where: ContractCondition) -> Contract | None:
    """Read the contract with the lowest id that meets the condition."""
    sought = ContractFilter(where.producer, where.kind, where.name, where.package)
    page = list_page(db, 0, sought, PageRequest(1))
    return page.items[0] if page.items else None


def list_page(
    db: apsw.Connection, revision: int, where: ContractFilter, page: PageRequest
) -> Page[Contract]:
    """Store.list_contracts."""
    wanted = {
        column: value
        for column in ("producer", "kind", "name", "package", "status")
        if (value := getattr(where, column)) is not None
    }
    conditions = "".join(f" AND {column} = ?" for column in wanted)
    after = page.after[0] if page.after else 0
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM contracts WHERE id > ?{conditions} ORDER BY id",
        (after, *wanted.values()),
    )
    items, more = cut(rows, page, from_row)
    return Page(items, revision, (items[-1].id,) if more else None)


def from_row(row: Row) -> Contract:
    """Read a row of `contracts`."""
    id_, producer, kind, name, signature, package, status, created_at = row
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
