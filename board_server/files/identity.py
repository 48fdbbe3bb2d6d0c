"""Whether two looks at a path saw the same file, and the same contents."""

import os
from typing import NamedTuple


class Identity(NamedTuple):
    """Which file it is: equal for two names of one file, and for one file before and after."""

    device: int
    inode: int


class Version(NamedTuple):
    """What the file system shows of a file's contents: almost every write changes it."""

    size: int
    modified_ns: int


def identity(found: os.stat_result) -> Identity:
    """Return which file this is."""
    return Identity(found.st_dev, found.st_ino)


def version(found: os.stat_result) -> Version:
    """Return the file's size and modification time."""
    return Version(found.st_size, found.st_mtime_ns)


def lstat(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return what is at the path, None if nothing is. Raises OSError if nobody can say."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
