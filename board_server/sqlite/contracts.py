"""The table `contracts`: one row per producer, kind and name."""

from collections.abc import Sequence

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

_BY_KEY = f"SELECT {_COLUMNS} FROM contracts WHERE (producer, kind, name) = (?, ?, ?)"

# Not an upsert, which would use up an id, and write, where nothing changes.
_INSERT = f"""
INSERT INTO contracts (signature, package, status, created_at, producer, kind, name)
VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}
"""

_UPDATE = f"""
UPDATE contracts SET signature = ?, package = ?, status = ? WHERE id = ? RETURNING {_COLUMNS}
"""

_KINDS = {kind.value: kind for kind in ContractKind}
_STATUSES = {status.value: status for status in ContractStatus}


def publish(tx: Transaction, draft: ContractDraft) -> Contract:
    """Store.publish_contract."""
    content = (draft.signature, draft.package, draft.status.value)
    row = tx.db.execute(_BY_KEY, draft.key).fetchone()
    if row is None:
        written = tx.db.execute(_INSERT, (*content, tx.now, *draft.key))
    elif _content(row) != content:
        written = tx.db.execute(_UPDATE, (*content, row[0]))
    else:
        return from_row(row)
    row = next(written)
    contract = from_row(row)
    tx.record(Change.CONTRACT, contract, row)
    return contract


def publish_batch(tx: Transaction, drafts: Sequence[ContractDraft]) -> int:
    """Store.publish_contracts."""
    distinct = {draft.key: draft for draft in drafts}
    for draft in distinct.values():
        publish(tx, draft)
    return len(distinct)


def remove_all(tx: Transaction) -> int:
    """Remove every contract, for Store.archive; return how many there were."""
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


def _content(row: Row) -> tuple[str, str, str]:
    _, _, _, _, signature, package, status, _ = row
    return signature, package, status


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
