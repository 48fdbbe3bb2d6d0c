"""Read small regular files; refuse files that have no end.

The server has its own reader, files/reload.py: neither package may import the other.
"""

import errno
import os
import stat
from pathlib import Path

LARGEST = 4 * 2**20
"""Bytes of the largest file that is read."""


def content(path: Path) -> bytes:
    """Read a regular file of at most LARGEST bytes. Raises OSError, whose strerror says why.

    Other files are refused at once: a FIFO may never get a writer, and a device may never end.
    """
    with open(path, "rb", opener=_open) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        found = file.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise OSError(errno.EFBIG, f"has more than {LARGEST:,} bytes", str(path))
    return found


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
