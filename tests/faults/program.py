"""The real program on a directory, killed and restarted at the same address."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import apsw

from board_server.announcement import address_in
from board_server.sqlite.audit import differences


class Program:
    """A server in its own process, which may be killed at any time."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options = options
        # Not in the test's own directory: a socket's path may have 107 bytes.
        self._socket = tempfile.TemporaryDirectory(prefix="board-")
        self.address = f"unix:{self._socket.name}/socket"
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self._socket.cleanup()

    def start(self, *, crash_at: str = "") -> None:
        """Start it; return when it listens, or has crashed."""
        command = [sys.executable, "-m", "board_server", str(self.directory)]
        command += ["--listen", self.address, *self.options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "BOARD_CRASH_AT": crash_at},
        )
        line = self.process.stdout.readline()
        assert address_in(line) or (crash_at and self.crashed()), line

    def crashed(self) -> bool:
        """Wait until it has ended; return whether it was killed."""
        return self.process.wait(timeout=60) == -9

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def stop(self) -> int:
        """Shut it down; return its exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.kill()
        return code


def assert_sound(directory: Path, board: str) -> None:
    """Check a file that no server has: SQLite finds it sound, and it matches its events."""
    db = apsw.Connection(str(directory / f"{board}.board.db"))
    try:
        assert db.pragma("integrity_check") == "ok"
        assert list(db.execute("PRAGMA foreign_key_check")) == []
        assert list(differences(db)) == []
    finally:
        db.close()
