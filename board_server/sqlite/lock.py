"""One server per board file, held by a lock on a file beside it."""

from pathlib import Path

from board_server.errors import StoreUnavailable
from board_server.files import lock


class FileLock(lock.FileLock):
    """The lock of a board, at `NAME.board.db.lock`."""

    def __init__(self, path: Path) -> None:
        """Take the lock at `path`. Raises OSError, and StoreUnavailable if another holds it."""
        try:
            super().__init__(path)
        except lock.Taken as holder:
            raise StoreUnavailable(
                f"the board is served by {holder}; use that server, or stop it",
                path.with_suffix(""),
            ) from None
