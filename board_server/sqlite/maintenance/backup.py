"""Back up a board to one file, whether it is served or not."""

from contextlib import closing
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.files import atomic
from board_server.sqlite.connection import connect
from board_server.sqlite.directory import SUFFIX
from board_server.sqlite.maintenance.copying import SQLITE, Progress, copy_board, temporary_beside
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError, maintenance_errors
from board_server.sqlite.maintenance.origin import mark, name_of, origin
from board_server.sqlite.migrate import SPEC_TABLES

_BESIDE_BOARDS = (".lock", "-wal", "-shm", "-journal")
"""Endings of the files beside a board."""


def back_up(
    board: Path, copy: Path, progress: Progress = lambda *_: None, *, force: bool = False
) -> int:
    """Copy the board as of one revision, and return that revision.

    Writes continue meanwhile. The copy is verified, and moved to `copy` when it is complete and
    on disk. It may replace an older backup of the same board, and with `force` a backup of
    another board, but no other file.
    """
    if not board.exists():
        raise MaintenanceError(f"{board} does not exist")
    _check_replaceable(copy, board, force=force)
    with maintenance_errors(board), temporary_beside(copy, "partial") as partial:
        revision = copy_board(board, partial, progress)
        # Verify before the first write: writing a page can hide damage in it.
        if found := next(faults(partial), None):
            raise MaintenanceError(
                f"the copy is not sound, and was not kept: {found}; see board doctor"
            )
        mark(partial, name_of(board))
        atomic.replace(partial, copy)
    return revision


def _check_replaceable(copy: Path, board: Path, *, force: bool) -> None:
    """Raise MaintenanceError unless `copy` is a new file or a backup that may be replaced."""
    if copy.is_dir():
        raise MaintenanceError(f"{copy} is a directory; name a file in it")
    if copy.is_symlink():
        raise MaintenanceError(f"{copy} is a symbolic link; name its target")
    if not copy.parent.is_dir():
        raise MaintenanceError(f"{copy.parent} is not a directory; create it, or name another")
    among_boards = copy.name.endswith(SUFFIX) and copy.parent.samefile(board.parent)
    if among_boards or any(Path(f"{copy}{end}").exists() for end in _BESIDE_BOARDS):
        raise MaintenanceError(f"{copy} is, or is beside, a board's file; name another")
    if not copy.exists():
        return
    if not copy.is_file() or (copy.stat().st_size and not _is_board(copy)):
        raise MaintenanceError(f"{copy} exists and is not a backup; name another")
    if not force:
        _check_same_board(copy, board)


def _is_board(file: Path) -> bool:
    """Return whether a file is a board, damaged or not."""
    with file.open("rb") as opened:
        if opened.read(len(SQLITE)) != SQLITE:
            return False
    try:
        with closing(connect(file)) as db:
            return all(db.table_exists(None, table) for table in SPEC_TABLES)
    except apsw.Error:
        return True  # damaged


def _check_same_board(copy: Path, board: Path) -> None:
    """Raise MaintenanceError if the copy is a backup of another board."""
    try:
        there = origin(copy)
    except (apsw.Error, StoreUnavailable):
        return  # too damaged to identify: the new backup replaces it
    name = name_of(board)
    with maintenance_errors(board):
        if there.is_backup_of(origin(board), name):
            return
    whose = {name: f"an earlier board {name}", "": "another board"}
    raise MaintenanceError(
        f"{copy} is a backup of {whose.get(there.name, f'board {there.name}')}, "
        f"revision {there.revision}; name another file, or replace it with --force"
    )
