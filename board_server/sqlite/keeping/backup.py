"""Copy a board to one file, while it is served or not; and make a board of such a file."""

import os
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from board_server.sqlite.connection import connect
from board_server.sqlite.keeping.examine import faults
from board_server.sqlite.keeping.unserved import CannotKeep, unserved
from board_server.sqlite.migrate import check

PAGES = 1000
"""Pages that are copied between two reports of progress."""

Progress = Callable[[int, int], None]
"""Is told how many of how many pages are copied."""


def back_up(board: Path, copy: Path, progress: Progress = lambda *_: None) -> int:
    """Copy the board as it is at one moment; return its revision.

    Writes go on meanwhile. The copy is verified, and in its place only when it
    is whole and on disk; it replaces an older one.
    """
    if not board.exists():
        raise CannotKeep(f"{board} does not exist")
    partial = copy.with_name(f"{copy.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        revision = _copy(board, partial, progress)
        if found := next(faults(partial), None):
            raise CannotKeep(f"the copy is not sound, and was not kept: {found}; see board doctor")
        _put_in_place(partial, copy)
    finally:
        partial.unlink(missing_ok=True)
    return revision


def restore(copy: Path, board: Path, *, force: bool = False) -> tuple[int, Path | None]:
    """Make the board a copy of a backup; return its revision, and where the one before is now.

    It gets an ID of its own, so that those who watch the old one are told
    BOARD_REPLACED. Refuses while a server has the board, and unless `force` is
    given where there is one; that is put aside, not deleted.
    """
    if not copy.exists():
        raise CannotKeep(f"{copy} does not exist")
    if found := next(faults(copy), None):
        raise CannotKeep(f"{copy} is not a sound backup: {found}")
    board.parent.mkdir(parents=True, exist_ok=True)
    with unserved(board):
        if board.exists() and not force:
            raise CannotKeep(f"{board} exists; --force puts it aside")
        partial = board.with_name(f"{board.name}.restoring")
        partial.unlink(missing_ok=True)
        try:
            revision = _copy(copy, partial)
            _make_another(partial)
            aside = _put_aside(board) if board.exists() else None
            _put_in_place(partial, board)
        finally:
            partial.unlink(missing_ok=True)
    return revision, aside


def _copy(source: Path, target: Path, progress: Progress = lambda *_: None) -> int:
    """Copy a database into a new file that needs no other beside it."""
    with closing(connect(source)) as reading, closing(connect(target, create=True)) as writing:
        check(reading)
        reading.execute("BEGIN")  # one moment, however long it takes
        served = reading.table_exists(None, "meta")
        revision = int(reading.execute("SELECT revision FROM meta").get) if served else 0
        with writing.backup("main", reading, "main") as copying:
            while not copying.done:
                copying.step(PAGES)
                progress(copying.page_count - copying.remaining, copying.page_count)
        writing.pragma("journal_mode", "delete")
    return revision


def _make_another(copy: Path) -> None:
    with closing(connect(copy)) as db:
        if db.table_exists(None, "meta"):
            db.execute("UPDATE meta SET board_id = ?", (uuid.uuid4().hex,))


def _put_aside(board: Path) -> Path:
    """Move a board and its log out of the way together, so that neither meets another's."""
    aside = board.with_name(f"{board.name}.replaced")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{aside}{suffix}").unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        part = Path(f"{board}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    Path(f"{board}-shm").unlink(missing_ok=True)
    return aside


def _put_in_place(file: Path, place: Path) -> None:
    _sync(file)
    file.rename(place)
    _sync(place.parent)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
