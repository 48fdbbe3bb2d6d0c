"""Make a board of a backup."""

import stat
import uuid
from contextlib import closing
from pathlib import Path

from board_server.errors import StoreUnavailable
from board_server.files import atomic
from board_server.files.ownership import give
from board_server.sqlite.connection import connect, connect_to_read
from board_server.sqlite.files import require_one_name
from board_server.sqlite.maintenance.aside import put_aside, undo_interrupted
from board_server.sqlite.maintenance.copying import copied, made_beside
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import CannotKeep, locked, refusing


def restore(copy: Path, board: Path, *, force: bool = False) -> tuple[int, Path | None]:
    """Make the board a copy of a backup; return its revision, and where the one before is now.

    It gets an ID of its own, so that those who watch the old one are told
    BOARD_REPLACED. Refuses while a server has the board, and unless `force` is
    given where there is one; that is put aside, not deleted, and so is a log
    that was left without its board. A crash leaves the board before or the
    backup, never a part of each; to repeat the command completes it.
    """
    if not copy.is_file():
        raise CannotKeep(f"{copy} is no file" if copy.exists() else f"{copy} does not exist")
    if not copy.stat().st_size:
        raise CannotKeep(f"{copy} is not a sound backup: it is empty")
    board.parent.mkdir(parents=True, exist_ok=True)
    with refusing(board), locked(board), made_beside(board, "restoring") as made:
        if board.exists() and not force:
            raise CannotKeep(f"{board} exists; --force puts it aside")
        undo_interrupted(board)
        require_one_name(board)
        revision = _copied_soundly(copy, made)
        board_id = _make_another(made)
        _protect(made, board)
        aside = _switched(made, board)
        _check_served(board, board_id, revision)
    return revision, aside


def _copied_soundly(copy: Path, made: Path) -> int:
    try:
        revision = copied(copy, made)
    except StoreUnavailable as error:
        raise CannotKeep(f"{copy} is not a sound backup: {error}") from error
    if found := next(faults(made), None):
        raise CannotKeep(f"{copy} is not a sound backup: {found}")
    return revision


def _make_another(made: Path) -> str:
    """Give the copy an ID of its own; return it, "" for a board that no server has opened yet."""
    board_id = uuid.uuid4().hex
    with closing(connect(made)) as db:
        if not db.table_exists(None, "meta"):
            return ""
        db.pragma("synchronous", "off")  # atomic.replace syncs it
        db.execute("UPDATE meta SET board_id = ?", (board_id,))
    return board_id


def _protect(made: Path, board: Path) -> None:
    """Give the copy the owner and the mode of the board before it, or of the directory's owner."""
    there = board.exists()
    give(made, board if there else board.parent)
    made.chmod(stat.S_IMODE(board.stat().st_mode) if there else 0o600)


def _switched(made: Path, board: Path) -> Path | None:
    """Put the copy where the board is; return where that one is now."""
    try:
        aside = put_aside(board)
        atomic.replace(made, board)
    except OSError as error:
        raise CannotKeep(
            f"{board} could not be replaced: {error.strerror}; repeat the command once that is "
            f"mended; what was there is whole, in its place or as {board.name}.replaced*"
        ) from error
    return aside


def _check_served(board: Path, board_id: str, revision: int) -> None:
    """Raise CannotKeep if a server would read anything else at the path than what was restored."""
    with connect_to_read(board) as db:
        served: object = ("", 0)
        if db.table_exists(None, "meta"):
            served = db.execute("SELECT board_id, revision FROM meta").fetchone()
    if served != (board_id, revision):
        raise CannotKeep(
            f"{board} was restored at revision {revision}, and SQLite reads another board there: "
            "end whatever else uses the directory, and restore again with --force"
        )
