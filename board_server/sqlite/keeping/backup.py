"""Copy a board to one file, while it is served or not."""

from contextlib import closing
from pathlib import Path

import apsw

from board_server.sqlite.connection import connect
from board_server.sqlite.directory import SUFFIX
from board_server.sqlite.keeping.copying import (
    SQLITE,
    Progress,
    copied,
    made_beside,
    put_in_place,
)
from board_server.sqlite.keeping.examine import faults
from board_server.sqlite.keeping.unserved import CannotKeep, refusing
from board_server.sqlite.migrate import SPEC_TABLES


def back_up(board: Path, copy: Path, progress: Progress = lambda *_: None) -> int:
    """Copy the board as it is at one moment; return its revision.

    Writes go on meanwhile. The copy is verified, and in its place only when it
    is whole and on disk; it replaces an older backup, and nothing else.
    """
    if not board.exists():
        raise CannotKeep(f"{board} does not exist")
    _check_replaceable(copy, board.parent)
    with refusing(board), made_beside(copy, "partial") as partial:
        revision = copied(board, partial, progress)
        if found := next(faults(partial), None):
            raise CannotKeep(f"the copy is not sound, and was not kept: {found}; see board doctor")
        put_in_place(partial, copy)
    return revision


def _check_replaceable(copy: Path, boards: Path) -> None:
    """Raise CannotKeep where a backup may not be put: over a board, or what is no backup."""
    if copy.is_dir():
        raise CannotKeep(f"{copy} is a directory; name a file in it")
    if not copy.parent.is_dir():
        raise CannotKeep(f"{copy.parent} is no directory; make it, or name another")
    among_boards = copy.name.endswith(SUFFIX) and copy.parent.samefile(boards)
    if among_boards or any(Path(f"{copy}{end}").exists() for end in (".lock", "-wal", "-shm")):
        raise CannotKeep(f"{copy} is the place of a board that is served; name another")
    if copy.exists() and copy.stat().st_size and not _is_board(copy):
        raise CannotKeep(f"{copy} is there and is no backup; name another")


def _is_board(file: Path) -> bool:
    """Tell whether a file is a board, sound or not: of one that is not, there is to be a better."""
    with file.open("rb") as opened:
        if opened.read(len(SQLITE)) != SQLITE:
            return False
    try:
        with closing(connect(file)) as db:
            return all(db.table_exists(None, table) for table in SPEC_TABLES)
    except apsw.Error:
        return True  # spoiled
