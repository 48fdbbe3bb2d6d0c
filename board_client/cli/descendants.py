"""Descendants: the processes that this process has started, directly or not.

A process group is not enough: an interactive shell gives each job a group of its own,
and a coding agent starts its tools in sessions of their own. Linux only.
"""

import ctypes
import errno
import os
import select
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import islice
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_GONE = frozenset({"Z", "X"})
_MOST_AT_ONCE = 100
"""The most processes to wait for at once: each takes a file descriptor."""
_SECONDS_TO_DIE = 5.0
"""Time for a process to end after SIGKILL; one in a system call that hangs never does."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends, so that none is lost."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_descendants(grace: float) -> None:
    """End all descendants: SIGTERM, then SIGKILL for those that are left after `grace` seconds."""
    _send_all(signal.SIGTERM, signal.SIGCONT)  # a stopped process cannot end
    if not _wait_for_all(time.monotonic() + grace):
        _kill_all(time.monotonic() + _SECONDS_TO_DIE)


def _send_all(*numbers: signal.Signals) -> None:
    """Send the signals to each descendant that lives now."""
    for pid in _living():
        with suppress(ProcessLookupError), closing(_Process(pid)) as process:
            for number in numbers:
                process.send(number)


def _kill_all(deadline: float) -> None:
    """Send SIGKILL until none is left, because a process may fork meanwhile."""
    while time.monotonic() < deadline:
        _send_all(signal.SIGKILL)
        if not _wait_for_any(deadline):
            return


def _wait_for_all(deadline: float) -> bool:
    """Return whether all descendants have ended by the deadline."""
    while _wait_for_any(deadline):
        if time.monotonic() > deadline:
            return False
    return True


def _wait_for_any(deadline: float) -> bool:
    """Wait until a descendant has ended, or for the deadline; return False if none lives."""
    with ExitStack() as stack:
        poll = select.poll()
        found = 0
        for process in islice(_opened(stack), _MOST_AT_ONCE):
            poll.register(process.descriptor, select.POLLIN)
            found += 1
        if found:
            poll.poll(1000 * max(0.0, deadline - time.monotonic()))
        return found > 0


def _opened(stack: ExitStack) -> Iterator["_Process"]:
    """Yield living descendants, at least one, until no more files can be opened."""
    found = False
    for pid in _living():
        with suppress(ProcessLookupError):
            try:
                process = _Process(pid)
            except OSError as error:
                if found and error.errno == errno.EMFILE:
                    return
                raise
            found = True
            stack.callback(process.close)
            yield process


class _Process:
    """A process by its pidfd, which unlike its ID is never reused."""

    def __init__(self, pid: int) -> None:
        """Open it. Raises ProcessLookupError if it has ended, and OSError."""
        self.descriptor = os.pidfd_open(pid)

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # ended, or it has changed its user
            signal.pidfd_send_signal(self.descriptor, number)

    def close(self) -> None:
        os.close(self.descriptor)


def _living() -> Iterator[int]:
    """Yield the ID of each descendant that lives now."""
    return _below(os.getpid(), _children())


def _below(parent: int, children: Mapping[int, Sequence[int]]) -> Iterator[int]:
    found = [*children.get(parent, ())]
    for pid in found:
        found += children.get(pid, ())
    return iter(found)


def _children() -> Mapping[int, Sequence[int]]:
    """Return the living children of every process on the machine."""
    children: dict[int, list[int]] = defaultdict(list)
    for directory in Path("/proc").iterdir():
        if not directory.name.isdecimal():
            continue
        with suppress(OSError):  # it has ended
            # PID (NAME) STATE PARENT ...; the name may hold anything
            state, parent = (directory / "stat").read_text("latin-1").rpartition(")")[2].split()[:2]
            if state not in _GONE:
                children[int(parent)].append(int(directory.name))
    return children
