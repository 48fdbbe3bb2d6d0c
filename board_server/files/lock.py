"""File locks: held by one process at a time, released by the kernel when the process ends."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from board_server.files.ownership import copy_owner


class Taken(Exception):
    """Another process holds the lock. The text names the process."""


class FileLock:
    """An exclusive lock on a lock file, which is created if it is missing.

    The file has mode 0600 and the owner of its directory, even if root creates it. It stays
    when the lock is released: removing it could remove the file that the next holder has
    locked.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        """Take the lock. Raises OSError, and Taken if `wait` is not set and another holds it."""
        self._file = _open(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.read(self._file, 200).decode(errors="replace").strip()
            os.close(self._file)
            raise Taken(holder or "another process") from None
        except BaseException:  # an interrupt of the wait
            os.close(self._file)
            raise
        with suppress(OSError):  # a full disk; the name of the holder is optional
            os.ftruncate(self._file, 0)
            os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Release the lock."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _open(path: Path) -> int:
    """Open the file, or create it for the owner of its directory.

    Never follows a link: the owner of the directory could make root overwrite any file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, flags)
        try:
            made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue  # another process was faster
        copy_owner(made, path.parent)
        return made
