"""Ownership of files that root creates for a server that does not run as root."""

import os
from pathlib import Path


def give(file: Path | int, like: Path) -> None:
    """Give a file, by its path or descriptor, the owner and group of another, if run by root.

    For other users this does nothing. Of a link, it changes the link, not its target. Raises
    OSError.
    """
    if os.geteuid() != 0:
        return
    found = like.stat()
    if isinstance(file, int):
        os.fchown(file, found.st_uid, found.st_gid)
    else:
        os.chown(file, found.st_uid, found.st_gid, follow_symlinks=False)
