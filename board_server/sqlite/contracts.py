"""The table `contracts`: one row per producer, kind and name."""

from collections.abc import Sequence

import apsw

from board_server.model import (
    Contract,
    ContractDraft,
    ContractFilter,
    ContractKind,
    ContractStatus,
    Page,
    PageRequest,
)
from board_server.sqlite.page import Row, cut
from board_server.sqlite.timestamps import from_text
from board_server.sqlite.writer import Transaction

_COLUMNS = "id, producer, kind, name, signature, package, status, created_at"

_UPSERT = f"""
INSERT INTO contracts (producer, kind, name, signature, package, status, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (producer, kind, name) DO UPDATE SET
    signature = excluded.signature, package = excluded.package, status = excluded.status
WHERE (signature, package, status)
    IS NOT (excluded.signature, excluded.package, excluded.status)
RETURNING {_COLUMNS}
"""

_BY_KEY = f"SELECT {_COLUMNS} FROM contracts WHERE (producer, kind, name) = (?, ?, ?)"

_KINDS = {kind.value: kind for kind in ContractKind}
_STATUSES = {status.value: status for status in ContractStatus}


def publish(tx: Transaction, draft: ContractDraft) -> Contract:
    """Store.publish_contract."""
    row = tx.db.execute(
        _UPSERT,
        (
            draft.producer,
            draft.kind.value,
            draft.name,
            draft.signature,
            draft.package,
            draft.status.value,
            tx.now,
        ),
    ).fetchone()
    if row is None:  # an equal contract is there already
        return _contract(tx.db.execute(_BY_KEY, draft.key).fetchone())
    tx.changed()
    return _contract(row)


def publish_batch(tx: Transaction, drafts: Sequence[ContractDraft]) -> int:
    """Store.publish_contracts."""
    distinct = {draft.key: draft for draft in drafts}
    for draft in distinct.values():
        publish(tx, draft)
    return len(distinct)


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
    items, more = cut(rows, page, _contract)
    return Page(items, revision, (items[-1].id,) if more else None)


def _contract(row: Row) -> Contract:
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
