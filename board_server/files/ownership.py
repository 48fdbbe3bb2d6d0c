"""Ownership of files that root creates for a server that does not run as root."""

import os
from pathlib import Path


def copy_owner(file: Path | int, like: Path) -> None:
    """Copy the owner and group of `like` to `file`, a path or a descriptor, if run by root.

    For other users this does nothing. A symbolic link is changed itself, not its target. Raises
    OSError.
    """
    if os.geteuid() != 0:
        return
    found = like.stat()
    if isinstance(file, int):
        os.fchown(file, found.st_uid, found.st_gid)
    else:
        os.chown(file, found.st_uid, found.st_gid, follow_symlinks=False)
