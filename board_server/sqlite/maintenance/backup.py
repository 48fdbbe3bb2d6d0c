"""Copy a board to one file, while it is served or not."""

from contextlib import closing
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.files import atomic
from board_server.sqlite.connection import connect
from board_server.sqlite.directory import SUFFIX
from board_server.sqlite.maintenance.copying import SQLITE, Progress, copied, made_beside
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import CannotKeep, refusing
from board_server.sqlite.maintenance.origin import mark, name_of, origin
from board_server.sqlite.migrate import SPEC_TABLES

_BESIDE_BOARDS = (".lock", "-wal", "-shm", "-journal")
"""How files end that lie beside a board."""


def back_up(
    board: Path, copy: Path, progress: Progress = lambda *_: None, *, force: bool = False
) -> int:
    """Copy the board as it is at one moment; return its revision.

    Writes go on meanwhile. The copy is verified, and in its place only when it
    is whole and on disk; it replaces an older backup of the same board, and
    with `force` another board's, but nothing else.
    """
    if not board.exists():
        raise CannotKeep(f"{board} does not exist")
    _check_replaceable(copy, board, force=force)
    with refusing(board), made_beside(copy, "partial") as partial:
        revision = copied(board, partial, progress)
        # Before anything is written to it: to write a page can hide what was wrong with it.
        if found := next(faults(partial), None):
            raise CannotKeep(f"the copy is not sound, and was not kept: {found}; see board doctor")
        mark(partial, name_of(board))
        atomic.replace(partial, copy)
    return revision


def _check_replaceable(copy: Path, board: Path, *, force: bool) -> None:
    """Raise CannotKeep where a backup may not be put: over anything but a backup of the board."""
    if copy.is_dir():
        raise CannotKeep(f"{copy} is a directory; name a file in it")
    if copy.is_symlink():
        raise CannotKeep(f"{copy} is a symbolic link; name the file that it leads to")
    if not copy.parent.is_dir():
        raise CannotKeep(f"{copy.parent} is no directory; make it, or name another")
    among_boards = copy.name.endswith(SUFFIX) and copy.parent.samefile(board.parent)
    if among_boards or any(Path(f"{copy}{end}").exists() for end in _BESIDE_BOARDS):
        raise CannotKeep(f"{copy} is the place of a board that is served; name another")
    if not copy.exists():
        return
    if not copy.is_file() or (copy.stat().st_size and not _is_board(copy)):
        raise CannotKeep(f"{copy} is there and is no backup; name another")
    if not force:
        _check_same_board(copy, board)


def _is_board(file: Path) -> bool:
    """Tell whether a file is a board, sound or not."""
    with file.open("rb") as opened:
        if opened.read(len(SQLITE)) != SQLITE:
            return False
    try:
        with closing(connect(file)) as db:
            return all(db.table_exists(None, table) for table in SPEC_TABLES)
    except apsw.Error:
        return True  # spoiled


def _check_same_board(copy: Path, board: Path) -> None:
    """Raise CannotKeep if the copy is a backup of another board."""
    try:
        there = origin(copy)
    except (apsw.Error, StoreUnavailable):
        return  # too spoiled to say: there is to be a better one
    name = name_of(board)
    with refusing(board):
        if there.is_backup_of(origin(board), name):
            return
    whose = {name: f"an earlier board {name}", "": "another board"}
    raise CannotKeep(
        f"{copy} is a backup of {whose.get(there.name, f'board {there.name}')}, "
        f"revision {there.revision}; name another file, or replace it with --force"
    )
