"""Detect what other programs do to the files of an open board."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path
from urllib.parse import quote

import apsw

from board_server.files.identity import Version, identity, lstat, version
from board_server.sqlite.meta import info
from board_server.sqlite.rows import Damaged

LOG_SIZE_LIMIT = 64 * 2**20
"""Bytes to which SQLite truncates a write-ahead log when it starts from the beginning."""


class Damage(Enum):
    """What another program did to the files of an open board; the values complete a sentence."""

    REPLACED = "was deleted or made anew"
    LOG_REMOVED = "has lost its write-ahead log, which was deleted"
    LOG_CUT = "has lost a part of its write-ahead log, which was cut short"
    OVERWRITTEN = "was overwritten by another program"
    OUT_OF_REACH = "cannot be reached"


class BoardIdentity:
    """The files as SQLite opened them: database, write-ahead log, and the log's index.

    SQLite does not detect this damage. It keeps using files that were deleted, which a crash
    would lose, and checkpoints the log of one database into another.
    """

    def __init__(self, path: Path) -> None:
        """Remember the files at `path`, which SQLite has opened. Raises OSError."""
        self._path = str(path)
        self._log = f"{path}-wal"
        self._index = f"{path}-shm"
        self._files = [identity(os.lstat(each)) for each in (self._path, self._log, self._index)]
        self._log_bytes = 0
        self._seen: Version | None = None
        self._content: tuple[str, int] | None = None
        self._look()

    def damage(self) -> Damage | None:
        """Return what is wrong with the files now. Thread-safe; costs three system calls."""
        try:
            return self._damage()
        except OSError:
            return Damage.OUT_OF_REACH

    def _damage(self) -> Damage | None:
        seen, log_bytes = self._seen, self._log_bytes
        database, log, index = map(lstat, (self._path, self._log, self._index))
        if database is None or identity(database) != self._files[0]:
            return Damage.REPLACED
        if log is None or index is None or [identity(log), identity(index)] != self._files[1:]:
            return Damage.LOG_REMOVED
        if log.st_size < log_bytes:
            return Damage.LOG_CUT
        if seen in {None, version(database)} or self._is_ours(seen) or self._seen is not seen:
            return None  # unchanged, or changed by a checkpoint
        return Damage.OVERWRITTEN

    def committed(self, log_bytes: int) -> None:
        """After a commit, remember the bytes that the log has at least."""
        self._log_bytes = min(log_bytes, LOG_SIZE_LIMIT)

    @contextmanager
    def checkpoint(self) -> Iterator[None]:
        """Expect the database file to change during a `with` block."""
        self._seen = None
        try:
            yield
        finally:
            self._look()

    def _look(self) -> None:
        self._content = _content(self._path)
        self._seen = version(os.lstat(self._path))

    def _is_ours(self, seen: Version | None) -> bool:
        """Return whether the changed file is still this board, at this revision or a later one."""
        database = lstat(self._path)
        found, before = _content(self._path), self._content
        if found is None or before is None:
            ours = found is before
        else:
            ours = found[0] == before[0] and found[1] >= before[1]
        if ours and database and self._seen is seen:
            self._content, self._seen = found, version(database)
        return ours


def _content(path: str) -> tuple[str, int] | None:
    """Read the board's ID and revision from the database file, without its log.

    None if the file has none, or if it is shorter than its header says.
    """
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        with closing(apsw.Connection(f"file:{quote(path)}?immutable=1", flags=flags)) as db:
            board = info(db, "")
            pages, page_size = db.pragma("page_count"), db.pragma("page_size")
            whole = pages * page_size <= os.lstat(path).st_size
            return (board.board_id, board.revision) if whole else None
    except (apsw.Error, OSError, Damaged):
        return None
