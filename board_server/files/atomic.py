"""Replace files so that after a crash a path has either the old file or the complete new one.

The order is: write a temporary file, fsync it, rename it, fsync the directory.
"""

import os
import tempfile
from pathlib import Path

from board_server.failpoints import failpoint
from board_server.files.ownership import copy_owner


def write(path: Path, data: bytes) -> None:
    """Replace the file at `path`, or create it, with `data`, durably. Raises OSError.

    An existing file keeps its owner, and the permissions of its owner and group. A new file has
    mode 0600 and the owner of its directory.
    """
    found = path.stat() if path.exists() else None
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            copy_owner(file.fileno(), path if found else path.parent)
            if found:
                os.fchmod(file.fileno(), found.st_mode & 0o660 | 0o600)
            file.write(data)
            file.flush()
            replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def replace(temporary: Path, path: Path) -> None:
    """Sync a complete file and rename it to `path`, durably. Raises OSError."""
    _sync(temporary)
    failpoint("before-directory-change")
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on disk. Raises OSError."""
    failpoint("before-directory-change")
    _sync(directory)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
