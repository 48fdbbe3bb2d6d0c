"""Put a board's files aside under another name, whole, wherever a crash ends it.

SQLite takes a log beside a file for that file's, whichever board it was. So each part is
linked to its new name before any loses its old one, and the logs are gone before another
file is put where the board was.
"""

import os
from itertools import chain, count
from pathlib import Path

from board_server.failpoints import failpoint
from board_server.files.atomic import sync_directory
from board_server.sqlite.maintenance.exclusive import CannotKeep

LOGS = ("-wal", "-journal")
"""How the files beside a board end that hold a part of it."""

PARTS = ("", *LOGS)

_INDEX = "-shm"
"""Of a write-ahead log: SQLite makes it anew from the log."""


def put_aside(board: Path) -> Path | None:
    """Free a board's path of its file and its logs, for another file to be put there.

    They are afterwards `<board>.replaced`, or `.replaced.2` and so on: what was put aside
    before stays. Returns the first of them, None if there are none. A board without a log
    keeps its old name too, to be replaced by a rename: at no moment is there no board. To be
    called with the board's lock held, after undo_interrupted. Raises CannotKeep where files
    cannot be linked.
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


def put_aside_before(board: Path) -> list[Path]:
    """Name what was put aside before, each once, by its name without the ending of a log."""
    names = {path.name for path in board.parent.glob(f"{board.name}.replaced*")}
    for end in (*LOGS, _INDEX):
        names = {name.removesuffix(end) for name in names}
    return [board.with_name(name) for name in sorted(names)]


def undo_interrupted(board: Path) -> None:
    """Finish, or take back, what a command has left that ended in the middle."""
    for aside in put_aside_before(board):
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
        raise CannotKeep(
            f"cannot put {path} aside as {new.name}: {error.strerror}; where the file system has "
            f"no hard links, move the board and what is beside it (*-wal, *-journal) away yourself"
        ) from error


def _remove(board: Path) -> None:
    """Remove the names of a board that has logs, its own first: a log alone is of no board."""
    for part in (*PARTS, _INDEX):
        _unlink(board, part)
    sync_directory(board.parent)


def _unlink(path: Path, part: str) -> None:
    failpoint("before-directory-change")
    Path(f"{path}{part}").unlink(missing_ok=True)
