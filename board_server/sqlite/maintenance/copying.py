"""Copy board files into temporary files beside their destination."""

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
from board_server.sqlite.maintenance.exclusive import MaintenanceError

SQLITE = b"SQLite format 3\0"
"""The first bytes of every database (sqlite.org/fileformat.html#magic_header_string)."""

PAGES = 1000
"""Pages that are copied between two calls of Progress."""

Progress = Callable[[int, int], None]
"""Called with the number of copied pages, and of all pages."""


@contextmanager
def temporary_beside(place: Path, suffix: str) -> Iterator[Path]:
    """Create an empty, locked file beside `place` for a `with` block, and remove it after that.

    A copy that an interrupted command left there is overwritten. Raises MaintenanceError if
    another command is writing it, or if the file there is not a copy of a board.
    """
    path = place.with_name(f"{place.name}.{suffix}")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise MaintenanceError(f"cannot create {path}: {error.strerror}") from error
    try:
        _lock_and_empty(file, path)
        try:
            yield path
        finally:
            if _is_same_file(path, file):
                path.unlink()
            _remove_logs(path)
    finally:
        os.close(file)


def _lock_and_empty(file: int, path: Path) -> None:
    """Lock the file and empty it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise MaintenanceError(f"{path} is being written by another command; wait for it") from None
    if not _is_same_file(path, file):
        raise MaintenanceError(f"another command was writing {path}; repeat this one")
    if os.pread(file, len(SQLITE), 0) not in {b"", SQLITE}:
        raise MaintenanceError(f"{path} is in the way, and is not a copy of a board; move it")
    os.ftruncate(file, 0)
    _remove_logs(path)


def _is_same_file(path: Path, file: int) -> bool:
    found = lstat(path)
    return found is not None and identity(found) == identity(os.fstat(file))


def _remove_logs(path: Path) -> None:
    for end in ("-journal", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def copy_board(source: Path, target: Path, progress: Progress = lambda *_: None) -> int:
    """Copy a board as of one revision into a single file, and return that revision.

    Raises StoreUnavailable if the source is not a board, MaintenanceError if it cannot be copied.
    """
    try:
        return _copy(source, target, progress)
    except (apsw.Error, OSError) as error:
        needed, left = source.stat().st_size, shutil.disk_usage(target.parent).free
        if isinstance(error, apsw.FullError) or left < needed:
            why = f"no room: {needed:,} bytes are needed, {left:,} are left"
        else:
            why = str(error)
        raise MaintenanceError(f"cannot copy {source} to {target.parent}: {why}") from error


def _copy(source: Path, target: Path, progress: Progress) -> int:
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
