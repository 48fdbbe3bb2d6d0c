"""ArchiveBoard: empty the tables of a board whose snapshot is stored."""

from board_server.errors import RevisionMismatch
from board_server.model import Archived
from board_server.sqlite import claims, contracts, phases
from board_server.sqlite.transaction import Transaction


def empty(tx: Transaction, revision: int) -> Archived:
    """Store.archive_board."""
    if tx.revision != revision:
        raise RevisionMismatch(revision, tx.revision)
    return Archived(
        phases=phases.remove_all(tx),
        contracts=contracts.remove_all(tx),
        claims=claims.remove_all(tx),
    )
