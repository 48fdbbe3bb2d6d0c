"""What goes wrong with a board's storage, in the board's words, and once in the log."""

import errno
import logging
import shutil
from pathlib import Path

import apsw

from board_server.errors import StorageError, StoreFull, StoreUnavailable
from board_server.sqlite.rows import Damaged

log = logging.getLogger(__name__)

MOST_TOLD = 1000
"""Boards whose trouble is remembered; callers can name any number that cannot be made."""

MOST_DAMAGES = 20
"""Damages of one board that are logged; what is in the file decides how many there are."""

_DAMAGE = (Damaged, apsw.CorruptError, apsw.NotADBError)

_PASSING = (
    *(apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError),
    *(apsw.BusyError, apsw.LockedError, apsw.NoMemError, apsw.InterruptError),
)
"""What is not the file's fault, and may work the next time."""

_FULL = {errno.ENOSPC, errno.EDQUOT}

_NO_ROOM_TO_SHARE = apsw.SQLITE_IOERR_SHMSIZE
"""The log's index cannot be made, which is next to the file from its opening on."""


def storage_error(error: apsw.Error | OSError | StoreUnavailable, path: Path) -> StorageError:
    """Say what befell the file at `path`, and what to do about it."""
    if (
        isinstance(error, apsw.FullError)
        or getattr(error, "errno", None) in _FULL
        or getattr(error, "extendedresult", None) == _NO_ROOM_TO_SHARE
    ):
        return StoreFull(
            "the board's disk is full: nothing was changed; make room, no restart is needed", path
        )
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(str(error), path)
    if isinstance(error, _DAMAGE):
        return StoreUnavailable(
            f"the board's file is damaged: {_reason(error)}; board doctor examines it, board "
            "restore puts the last good backup in its place",
            path,
        )
    return StoreUnavailable(f"the board's file cannot be used: {_reason(error)}", path)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = getattr(error, "extendedresult", None)
    code = apsw.mapping_extended_result_codes.get(number) if number else None
    return f"{error} ({code})" if isinstance(code, str) else str(error)


class OpeningTrouble:
    """Logs why boards cannot be opened: once for each board and reason, not once for each call."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def note(self, board: str, error: StorageError) -> None:
        """Log an error, which callers are told without the path, if it is news."""
        if self._told.get(board) == error.located:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[board] = error.located
        log.error("cannot open board %s: %s", board, error.located)

    def over(self, board: str) -> None:
        """Take note that a board has been opened."""
        self._told.pop(board, None)


class Trouble:
    """Tells the log when a board's storage begins to fail and when it works again.

    Not each time in between: callers hear of those. What another attempt may find mended, a
    full disk, is over when a write succeeds; damage is not, and each is logged once. Shared
    by the threads of a board, which at worst log a thing twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = ""
        self._damage: set[str] = set()

    def of(self, error: apsw.Error) -> StorageError:
        """Say the error in the board's words, and tell the log if it is news."""
        told = storage_error(error, self._path)
        if isinstance(error, _PASSING):
            if str(told) != self._told:
                self._told = str(told)
                log.error("%s; %s", told.located, self._room())
        elif str(told) not in self._damage and len(self._damage) < MOST_DAMAGES:
            self._damage.add(str(told))
            log.error("%s", told.located)
        return told

    def over(self) -> None:
        """Take note that a write has succeeded."""
        if self._told:
            self._told = ""
            log.warning("%s is written again", self._path)

    def _room(self) -> str:
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError as error:
            return f"its directory cannot be looked at: {error.strerror}"
        return f"its file system has {free:,} bytes left"
