"""Copy a board to one file, while it is served or not; and make a board of such a file."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain, count
from pathlib import Path

import apsw

from board_server.owner import give
from board_server.sqlite.connection import connect
from board_server.sqlite.directory import SUFFIX
from board_server.sqlite.keeping.examine import faults
from board_server.sqlite.keeping.unserved import CannotKeep, unserved
from board_server.sqlite.migrate import SPEC_TABLES, check

SQLITE = b"SQLite format 3\0"
"""How every database begins (sqlite.org/fileformat.html#magic_header_string)."""

PAGES = 1000
"""Pages that are copied between two reports of progress."""

Progress = Callable[[int, int], None]
"""Is told how many of how many pages are copied."""


def back_up(board: Path, copy: Path, progress: Progress = lambda *_: None) -> int:
    """Copy the board as it is at one moment; return its revision.

    Writes go on meanwhile. The copy is verified, and in its place only when it
    is whole and on disk; it replaces an older backup, and nothing else.
    """
    if not board.exists():
        raise CannotKeep(f"{board} does not exist")
    _check_replaceable(copy, board.parent)
    with _partial(copy, "partial") as partial:
        revision = _copy(board, partial, progress)
        if found := next(faults(partial), None):
            raise CannotKeep(f"the copy is not sound, and was not kept: {found}; see board doctor")
        _put_in_place(partial, copy)
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
        there = board.exists()
        if there and not force:
            raise CannotKeep(f"{board} exists; --force puts it aside")
        with _partial(board, "restoring") as partial:
            revision = _copy(copy, partial)
            _make_another(partial)
            give(partial, board if there else board.parent)
            aside = _put_aside(board) if there else None
            _put_in_place(partial, board)
    return revision, aside


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


@contextmanager
def _partial(place: Path, suffix: str) -> Iterator[Path]:
    """Name a file beside a place to be put there; remove what is left of it at the end."""
    partial = place.with_name(f"{place.name}.{suffix}")

    def remove() -> None:
        for end in ("", "-journal", "-wal", "-shm"):
            Path(f"{partial}{end}").unlink(missing_ok=True)

    remove()
    try:
        yield partial
    finally:
        remove()


def _copy(source: Path, target: Path, progress: Progress = lambda *_: None) -> int:
    """Copy a database into a new file that needs no other beside it."""
    try:
        return _copied(source, target, progress)
    except apsw.Error as error:
        needed, left = source.stat().st_size, shutil.disk_usage(target.parent).free
        if isinstance(error, apsw.FullError) or left < needed:
            why = f"no room: {needed:,} bytes are needed, {left:,} are left"
        else:
            why = str(error)
        raise CannotKeep(f"cannot copy {source} to {target.parent}: {why}") from error


def _copied(source: Path, target: Path, progress: Progress) -> int:
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
    """Move a board and its log out of the way together, so that neither meets another's.

    What was put aside before stays: it may be the only one that is any good.
    """
    again = chain([""], (f".{number}" for number in count(2)))
    names = (f"{board.name}.replaced{each}" for each in again)
    aside = next(path for name in names if not (path := board.with_name(name)).exists())
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
