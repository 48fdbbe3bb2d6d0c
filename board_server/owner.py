"""Files that root makes for a server that does not run as root."""

import os
from pathlib import Path


def give(path: Path, like: Path) -> None:
    """Let a file belong to the owner of another one, if we are root; else it is ours.

    Raises OSError.
    """
    if os.geteuid() == 0:
        found = like.stat()
        os.chown(path, found.st_uid, found.st_gid)
