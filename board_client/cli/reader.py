"""Detect that the reader of standard output has gone, even while nothing is written."""

import _thread
import errno
import os
import select
import signal
import stat
import sys
import threading
from typing import NoReturn


def end_with_the_reader() -> None:
    """Raise BrokenPipeError in the main thread once the pipe at standard output has no reader.

    Otherwise `board watch | head -1` would run until the next event.
    """
    output = sys.stdout.fileno()
    mode = os.fstat(output).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        signal.signal(signal.SIGPIPE, _raise_broken_pipe)
        threading.Thread(target=_poll, args=(output,), name="reader", daemon=True).start()


def _poll(output: int) -> None:
    poll = select.poll()
    poll.register(output, 0)  # POLLERR, for a closed other end, is always reported
    poll.poll()
    _thread.interrupt_main(signal.SIGPIPE)


def _raise_broken_pipe(_number: int, _frame: object) -> NoReturn:
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
