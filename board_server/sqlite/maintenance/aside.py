"""Set a board's files aside under another name, all of them together even after a crash.

SQLite applies any log that it finds beside a database, even one of another board. So every file
gets its new name before any loses its old one, and the logs are removed before another file
takes the board's path.
"""

import os
from itertools import chain, count
from pathlib import Path

from board_server.failpoints import failpoint
from board_server.files.atomic import sync_directory
from board_server.sqlite.maintenance.exclusive import MaintenanceError

LOGS = ("-wal", "-journal")
"""Endings of the files beside a board that contain part of its data."""

PARTS = ("", *LOGS)

_INDEX = "-shm"
"""Ending of the index of a write-ahead log, which SQLite rebuilds from the log."""


def set_aside(board: Path) -> Path | None:
    """Move a board's file and logs away from its path, for another file to take it.

    They become `<board>.replaced`, or `.replaced.2` and so on if that exists. Returns the new
    path of the first of them, None if there are none. A board without a log also keeps its old
    name, until a rename replaces it, so that the path always has a board. Call this with the
    board's lock held, after undo_interrupted. Raises MaintenanceError if files cannot be linked.
    """
    found = [part for part in PARTS if _exists(board, part)]
    if not found:
        return None
    aside = _free_name(board)
    for part in found:
        _link(Path(f"{board}{part}"), Path(f"{aside}{part}"))
    sync_directory(board.parent)
    if found != [""]:
        _remove(board)
    return Path(f"{aside}{found[0]}")


def earlier_asides(board: Path) -> list[Path]:
    """Return the boards that were set aside before, without the paths of their logs."""
    names = {path.name for path in board.parent.glob(f"{board.name}.replaced*")}
    for end in (*LOGS, _INDEX):
        names = {name.removesuffix(end) for name in names}
    return [board.with_name(name) for name in sorted(names)]


def undo_interrupted(board: Path) -> None:
    """Complete or undo what an interrupted command has left."""
    for aside in earlier_asides(board):
        if board.exists() and aside.exists() and aside.samefile(board):
            for part in (*LOGS, ""):
                _unlink(aside, part)
        for part in LOGS:
            log, kept = Path(f"{board}{part}"), Path(f"{aside}{part}")
            if not board.exists() and log.exists() and kept.exists() and kept.samefile(log):
                _unlink(board, part)


def _free_name(board: Path) -> Path:
    again = chain([""], (f".{number}" for number in count(2)))
    names = (board.with_name(f"{board.name}.replaced{each}") for each in again)
    return next(name for name in names if not any(_exists(name, part) for part in PARTS))


def _exists(path: Path, part: str) -> bool:
    return os.path.lexists(f"{path}{part}")


def _link(path: Path, new: Path) -> None:
    failpoint("before-directory-change")
    try:
        new.hardlink_to(path)
    except OSError as error:
        raise MaintenanceError(
            f"cannot set {path} aside as {new.name}: {error.strerror}; if the file system has no "
            f"hard links, move the board and the files beside it (*-wal, *-journal) away yourself"
        ) from error


def _remove(board: Path) -> None:
    """Remove a board and its logs, the board first: a log without a board is not applied."""
    for part in (*PARTS, _INDEX):
        _unlink(board, part)
    sync_directory(board.parent)


def _unlink(path: Path, part: str) -> None:
    failpoint("before-directory-change")
    Path(f"{path}{part}").unlink(missing_ok=True)
