"""Become a command that ends when the process that started it does.

`board run` runs this file as a program, with its own process ID and the command as
arguments: prctl must be called between fork and exec, where a process with threads
cannot run Python. Linux only.
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1

# The codes that shells use.
_CANNOT_RUN = 126
_NOT_FOUND = 127


def become(parent: int, command: list[str]) -> NoReturn:
    """Run the command in place of this process. It gets SIGTERM when `parent` is gone."""
    # Python ignores these, and exec would keep that; a command expects to die of them.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)  # gone already
    try:
        os.execvp(command[0], command)  # noqa: S606  the user's own command
    except FileNotFoundError:
        sys.stderr.write(f"board: {command[0]}: command not found\n")
        sys.exit(_NOT_FOUND)
    except OSError as error:
        sys.stderr.write(f"board: cannot run {command[0]}: {error.strerror}\n")
        sys.exit(_CANNOT_RUN)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
