"""Files that root makes for a server that does not run as root."""

import os
from pathlib import Path


def give(file: Path | int, like: Path) -> None:
    """Let a file, by its path or descriptor, belong to the owner of another one, if we are root.

    Otherwise it is ours. A link is given away itself, not what it leads to. Raises OSError.
    """
    if os.geteuid() != 0:
        return
    found = like.stat()
    if isinstance(file, int):
        os.fchown(file, found.st_uid, found.st_gid)
    else:
        os.chown(file, found.st_uid, found.st_gid, follow_symlinks=False)
