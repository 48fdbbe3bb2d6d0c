"""Compare stat results: whether they are of the same file, and whether it has changed."""

import os
from typing import NamedTuple


class Identity(NamedTuple):
    """Identifies a file; two names of one file have the same identity."""

    device: int
    inode: int


class Version(NamedTuple):
    """Size and modification time; almost every write changes them."""

    size: int
    modified_ns: int


def identity(found: os.stat_result) -> Identity:
    """Return the identity of the file."""
    return Identity(found.st_dev, found.st_ino)


def version(found: os.stat_result) -> Version:
    """Return the file's size and modification time."""
    return Version(found.st_size, found.st_mtime_ns)


def lstat(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return the stat result of a path, None if nothing is there. Raises other OSErrors."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
