"""Directory: the board files of one directory, opened for service or not."""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.model import BoardInfo, Page, PageRequest, is_board_name
from board_server.sqlite.connection import connect
from board_server.sqlite.files import require_one_name
from board_server.sqlite.meta import info
from board_server.sqlite.migrate import check

SUFFIX = ".board.db"

log = logging.getLogger(__name__)


class Directory:
    """Tells where a board's file is, and which there are."""

    def __init__(self, path: Path) -> None:
        """Make the directory if need be. Raises StoreUnavailable where that cannot be done."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(error.strerror or str(error), path) from error
        self._path = path

    def file(self, board: str) -> Path:
        """Return the path of a board's file, whether or not it is there."""
        return self._path / f"{board}{SUFFIX}"

    def list_boards(self, page: PageRequest, among: Collection[str] | None) -> Page[BoardInfo]:
        """Store.list_boards."""
        after = str(page.after[0]) if page.after else ""
        found = (path.name.removesuffix(SUFFIX) for path in self._path.glob(f"*{SUFFIX}"))
        names = sorted(
            name
            for name in found
            if name > after and is_board_name(name) and (among is None or name in among)
        )
        wanted = names[: page.size]
        boards = [board for name in wanted if (board := self._peek(name))]
        return Page(boards, 0, (wanted[-1],) if len(names) > len(wanted) else None)

    def _peek(self, name: str) -> BoardInfo | None:
        """Read about a board without opening it for service; None if it cannot be read."""
        path = self.file(name)
        try:
            require_one_name(path)
            connection = connect(path)
            try:
                check(connection)
                if not connection.table_exists(None, "meta"):
                    # Made by quasar's own store, not served here yet.
                    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    return BoardInfo(name, "", 0, made)
                return info(connection, name)
            finally:
                connection.close()
        except (apsw.Error, OSError, StoreUnavailable) as error:
            log.warning("left out of the list of boards: %s: %s", path, error)
            return None
