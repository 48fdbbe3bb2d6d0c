"""Storage errors: translate SQLite's into the board's, and log each problem once."""

import errno
import logging
import shutil
from pathlib import Path

import apsw

from board_server.errors import StorageError, StoreFull, StoreUnavailable
from board_server.sqlite.rows import Damaged

log = logging.getLogger(__name__)

MAX_BOARDS = 1000
"""Most boards whose last error is remembered; clients may name more that cannot be opened."""

MAX_DAMAGES = 20
"""Damages of one board that are logged; the file's contents decide how many there are."""

_DAMAGE = (Damaged, apsw.CorruptError, apsw.NotADBError)

_TRANSIENT = (
    *(apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError),
    *(apsw.BusyError, apsw.LockedError, apsw.NoMemError, apsw.InterruptError),
)
"""Errors that the file's contents do not cause, and that may be gone at the next attempt."""

_FULL = {errno.ENOSPC, errno.EDQUOT}

_NO_ROOM_FOR_INDEX = apsw.SQLITE_IOERR_SHMSIZE
"""SQLite cannot extend the index of the write-ahead log, a file beside the board."""


def storage_error(error: apsw.Error | OSError | StoreUnavailable, path: Path) -> StorageError:
    """Return the board's error for one of SQLite's or the system's on the file at `path`."""
    if (
        isinstance(error, apsw.FullError)
        or getattr(error, "errno", None) in _FULL
        or getattr(error, "extendedresult", None) == _NO_ROOM_FOR_INDEX
    ):
        return StoreFull(
            "the board's disk is full: nothing was changed; make room, no restart is needed", path
        )
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(str(error), path)
    if isinstance(error, _DAMAGE):
        return StoreUnavailable(
            f"the board's file is damaged: {_reason(error)}; examine it with board doctor, "
            "replace it by the last good backup with board restore",
            path,
        )
    return StoreUnavailable(f"the board's file cannot be used: {_reason(error)}", path)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = getattr(error, "extendedresult", None)
    code = apsw.mapping_extended_result_codes.get(number) if number else None
    return f"{error} ({code})" if isinstance(code, str) else str(error)


class OpenErrorLog:
    """Logs why boards cannot be opened: once for each board and reason, not for each call."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def failed(self, board: str, error: StorageError) -> None:
        """Log an error with its path, which callers do not get, unless it was the last one."""
        if self._last.get(board) == error.located:
            return
        if len(self._last) >= MAX_BOARDS:
            self._last.clear()
        self._last[board] = error.located
        log.error("cannot open board %s: %s", board, error.located)

    def recovered(self, board: str) -> None:
        """Forget a board's error: it has been opened."""
        self._last.pop(board, None)


class StorageErrorLog:
    """Logs when a board's storage begins to fail, and when it works again.

    Errors in between go to the callers only. A transient error, such as a full disk, is over
    when a write succeeds. Damage stays, and each is logged once. The threads of a board share
    this object; at worst they log an error twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transient = ""
        self._damages: set[str] = set()

    def translate(self, error: apsw.Error) -> StorageError:
        """Return the board's error for one of SQLite's, and log it if it is new."""
        translated = storage_error(error, self._path)
        text = str(translated)
        if isinstance(error, _TRANSIENT):
            if text != self._transient:
                self._transient = text
                log.error("%s; %s", translated.located, self._room())
        elif text not in self._damages and len(self._damages) < MAX_DAMAGES:
            self._damages.add(text)
            log.error("%s", translated.located)
        return translated

    def recovered(self) -> None:
        """Log that writes succeed again, if they had failed."""
        if self._transient:
            self._transient = ""
            log.warning("writes to %s succeed again", self._path)

    def _room(self) -> str:
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError as error:
            return f"its directory cannot be read: {error.strerror}"
        return f"its file system has {free:,} bytes left"
