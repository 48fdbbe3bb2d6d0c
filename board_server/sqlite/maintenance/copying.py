"""Copies of a board file: made beside their place, put there when they are whole and on disk."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from board_server.files.identity import identity, lstat
from board_server.sqlite import meta
from board_server.sqlite.connection import connect, connect_to_read
from board_server.sqlite.maintenance.exclusive import CannotKeep

SQLITE = b"SQLite format 3\0"
"""How every database begins (sqlite.org/fileformat.html#magic_header_string)."""

PAGES = 1000
"""Pages that are copied between two reports of progress."""

Progress = Callable[[int, int], None]
"""Called with the number of pages that are copied, and the number of all pages."""


@contextmanager
def made_beside(place: Path, suffix: str) -> Iterator[Path]:
    """Make an empty file beside `place` that no other command writes; remove it at the end.

    A copy that an interrupted command left there is written over. Raises CannotKeep
    where another command writes it, or where the file there is no copy of a board.
    """
    path = place.with_name(f"{place.name}.{suffix}")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotKeep(f"{path} cannot be made: {error.strerror}") from error
    try:
        _take(file, path)
        try:
            yield path
        finally:
            if _leads_to(path, file):
                path.unlink()
            _remove_logs(path)
    finally:
        os.close(file)


def _take(file: int, path: Path) -> None:
    """Lock the file and empty it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotKeep(f"{path} is being written by another command; let it end") from None
    if not _leads_to(path, file):
        raise CannotKeep(f"{path} was being written by another command; repeat this one")
    if os.pread(file, len(SQLITE), 0) not in {b"", SQLITE}:
        raise CannotKeep(f"{path} is in the way, and is no copy of a board; move it")
    os.ftruncate(file, 0)
    _remove_logs(path)


def _leads_to(path: Path, file: int) -> bool:
    found = lstat(path)
    return found is not None and identity(found) == identity(os.fstat(file))


def _remove_logs(path: Path) -> None:
    for end in ("-journal", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def copied(source: Path, target: Path, progress: Progress = lambda *_: None) -> int:
    """Copy a board as it is at one moment into a file that needs no other; return its revision.

    Raises StoreUnavailable where the source is no board, CannotKeep where it cannot be copied.
    """
    try:
        return _copied(source, target, progress)
    except (apsw.Error, OSError) as error:
        needed, left = source.stat().st_size, shutil.disk_usage(target.parent).free
        if isinstance(error, apsw.FullError) or left < needed:
            why = f"no room: {needed:,} bytes are needed, {left:,} are left"
        else:
            why = str(error)
        raise CannotKeep(f"cannot copy {source} to {target.parent}: {why}") from error


def _copied(source: Path, target: Path, progress: Progress) -> int:
    with connect_to_read(source) as reading, closing(connect(target)) as writing:
        writing.pragma("synchronous", "off")  # atomic.replace syncs it, once
        served = reading.table_exists(None, "meta")
        revision = meta.revision(reading) if served else 0
        with writing.backup("main", reading, "main") as copying:
            while not copying.done:
                copying.step(PAGES)
                progress(copying.page_count - copying.remaining, copying.page_count)
        writing.pragma("journal_mode", "delete")
    return revision
