"""Restore a board from a backup."""

import stat
import uuid
from contextlib import closing
from pathlib import Path

from board_server.errors import StoreUnavailable
from board_server.files import atomic
from board_server.files.ownership import copy_owner
from board_server.sqlite.connection import connect, connect_to_read
from board_server.sqlite.files import refuse_links
from board_server.sqlite.maintenance.aside import set_aside, undo_interrupted
from board_server.sqlite.maintenance.copying import copy_board, temporary_beside
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError, locked, maintenance_errors


def restore(copy: Path, board: Path, *, force: bool = False) -> tuple[int, Path | None]:
    """Replace a board by a copy of a backup; return its revision and the old board's new path.

    The restored board has a new ID, so that watches of the old one end with BOARD_REPLACED.
    Raises MaintenanceError if a server has the board, or if a board exists and `force` is not
    set. An existing board is set aside, not deleted; so is a log without its board. A crash
    leaves either the old board or the backup, never a mixture; repeat the command to complete it.
    """
    if not copy.is_file():
        raise MaintenanceError(
            f"{copy} is not a file" if copy.exists() else f"{copy} does not exist"
        )
    if not copy.stat().st_size:
        raise MaintenanceError(f"{copy} is not a sound backup: it is empty")
    board.parent.mkdir(parents=True, exist_ok=True)
    with maintenance_errors(board), locked(board), temporary_beside(board, "restoring") as made:
        if board.exists() and not force:
            raise MaintenanceError(f"{board} exists; --force sets it aside")
        undo_interrupted(board)
        refuse_links(board)
        revision = _copy_verified(copy, made)
        board_id = _give_new_id(made)
        _copy_owner_and_mode(made, board)
        aside = _move_into_place(made, board)
        _check_served(board, board_id, revision)
    return revision, aside


def _copy_verified(copy: Path, made: Path) -> int:
    try:
        revision = copy_board(copy, made)
    except StoreUnavailable as error:
        raise MaintenanceError(f"{copy} is not a sound backup: {error}") from error
    if found := next(faults(made), None):
        raise MaintenanceError(f"{copy} is not a sound backup: {found}")
    return revision


def _give_new_id(made: Path) -> str:
    """Give the copy a new ID, and return it; "" for a board that no server has opened yet."""
    board_id = uuid.uuid4().hex
    with closing(connect(made)) as db:
        if not db.table_exists(None, "meta"):
            return ""
        db.pragma("synchronous", "off")  # atomic.replace syncs it
        db.execute("UPDATE meta SET board_id = ?", (board_id,))
    return board_id


def _copy_owner_and_mode(made: Path, board: Path) -> None:
    """Give the copy the owner and mode of the existing board, or else the directory's owner."""
    there = board.exists()
    copy_owner(made, board if there else board.parent)
    made.chmod(stat.S_IMODE(board.stat().st_mode) if there else 0o600)


def _move_into_place(made: Path, board: Path) -> Path | None:
    """Move the copy to the board's path; return the old board's new path."""
    try:
        aside = set_aside(board)
        atomic.replace(made, board)
    except OSError as error:
        raise MaintenanceError(
            f"{board} could not be replaced: {error.strerror}; fix that and repeat the command; "
            f"the old board is complete, at its path or as {board.name}.replaced*"
        ) from error
    return aside


def _check_served(board: Path, board_id: str, revision: int) -> None:
    """Raise MaintenanceError if SQLite does not read the restored board at its path."""
    with connect_to_read(board) as db:
        served: object = ("", 0)
        if db.table_exists(None, "meta"):
            served = db.execute("SELECT board_id, revision FROM meta").fetchone()
    if served != (board_id, revision):
        raise MaintenanceError(
            f"{board} was restored at revision {revision}, but SQLite reads another board there; "
            "stop all other programs that use the directory, and restore again with --force"
        )
