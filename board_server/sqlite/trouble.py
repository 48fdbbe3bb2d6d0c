"""What goes wrong with a board's storage, in the board's words, and once in the log."""

import errno
import logging
import shutil
from pathlib import Path

import apsw

from board_server.errors import BoardError, StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT}

_NO_ROOM_TO_SHARE = apsw.SQLITE_IOERR_SHMSIZE
"""The log's index cannot be made, which is next to the file from its opening on."""


def storage_error(error: apsw.Error | OSError | StoreUnavailable, path: Path) -> BoardError:
    """Say what befell the file at `path`, and what to do about it."""
    if (
        isinstance(error, apsw.FullError)
        or getattr(error, "errno", None) in _FULL
        or getattr(error, "extendedresult", None) == _NO_ROOM_TO_SHARE
    ):
        return StoreFull(
            f"the disk of {path} is full: nothing was changed; make room, no restart is needed"
        )
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(f"{path}: {error}")
    return StoreUnavailable(f"{path} cannot be used: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = getattr(error, "extendedresult", None)
    code = apsw.mapping_extended_result_codes.get(number) if number else None
    return f"{error} ({code})" if isinstance(code, str) else str(error)


class Trouble:
    """Tells the log when a board's storage begins to fail and when it works again.

    Not each time in between: callers hear of those. Shared by the threads of a
    board, which at worst say a thing twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = ""

    def of(self, error: apsw.Error) -> BoardError:
        """Say the error in the board's words, and tell the log if it is news."""
        told = storage_error(error, self._path)
        if str(told) != self._told:
            self._told = str(told)
            log.error("%s; %s", told, self._room())
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
