"""One server per board file, held by a lock on a file beside it."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from board_server.errors import StoreUnavailable
from board_server.owner import give


class FileLock:
    """An exclusive lock that the kernel drops when the process ends, however it ends.

    The file tells who holds it. It stays behind when unlocked, since removing it
    could take it away from under the next holder.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock at `path`. Raises StoreUnavailable, naming the holder, if it is taken."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            give(path, path.parent)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 200).decode(errors="replace").strip()
            os.close(self._file)
            raise StoreUnavailable(
                f"the board is served by {holder or 'another process'}; "
                "stop that server, or use it",
                path.with_suffix(""),
            ) from None
        except OSError:
            os.close(self._file)
            raise
        with suppress(OSError):  # a full disk; who holds it is good to know, and no more
            os.ftruncate(self._file, 0)
            os.write(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def release(self) -> None:
        """Give the lock up."""
        os.close(self._file)
