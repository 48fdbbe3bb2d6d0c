"""A real terminal, in which a command reads keys and gets signals."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from contextlib import contextmanager

from tests.cli.conftest import COMMAND, environment


class Terminal:
    """A program, by default the `board` command, in a terminal of 80x24 of its own."""

    def __init__(self, *arguments, program=COMMAND, **variables):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", program, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(TERM="xterm-256color", **variables),
        )
        self._theirs = theirs
        self._shown = ""

    def shows(self, text):
        """Read until the text is shown."""
        while text not in self._shown:
            self._read()
        self._shown = self._shown.partition(text)[2]

    def shows_number(self, before):
        """Read until a line has the words and a number after them, and return the number."""
        while not (found := re.search(rf"{before} (\d+)\r\n", self._shown)):
            self._read()
        return int(found[1])

    def presses(self, keys):
        os.write(self._ours, keys.encode())

    def ends(self):
        """The exit code, and whether the terminal was left as it was."""
        while self.process.poll() is None or select.select([self._ours], [], [], 0)[0]:
            if select.select([self._ours], [], [], 0.05)[0]:
                self._shown += os.read(self._ours, 65536).decode(errors="replace")
        left = self._shown.rpartition("\x1b[?1049")[2].startswith("l")
        return self.process.returncode, left and self.is_as_it_was()

    def is_as_it_was(self):
        """Whether the terminal has the modes that it had before the program."""
        return termios.tcgetattr(self._theirs) == self.before

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self):
        ready, _, _ = select.select([self._ours], [], [], 60)
        assert ready, f"nothing more is shown after {self._shown[-500:]!r}"
        self._shown += os.read(self._ours, 65536).decode(errors="replace")


@contextmanager
def terminal(*arguments, **options):
    shown = Terminal(*arguments, **options)
    try:
        yield shown
    finally:
        shown.close()
