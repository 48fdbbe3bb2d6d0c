"""ArchiveBoard: empty the tables of a board after the client has stored a snapshot."""

from board_server.errors import BoardReplaced, RevisionMismatch
from board_server.model import Archived
from board_server.sqlite import claims, contracts, phases
from board_server.sqlite.transaction import Transaction


def empty(tx: Transaction, revision: int, board_id: str) -> Archived:
    """Store.archive_board."""
    there = str(tx.db.execute("SELECT board_id FROM meta").get)
    if board_id not in {"", there}:
        raise BoardReplaced(there)
    if tx.revision != revision:
        raise RevisionMismatch(revision, tx.revision)
    return Archived(
        phases=phases.remove_all(tx),
        contracts=contracts.remove_all(tx),
        claims=claims.remove_all(tx),
    )
