"""The processes that this process has started, directly or not, and how to end them all.

A process group would not do: an interactive shell gives each of its jobs a group
of its own, and a coding agent starts its tools in sessions of their own. Linux only.
"""

import ctypes
import os
import select
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_GONE = frozenset({"Z", "X"})
_MOST_AT_ONCE = 500
"""How many processes to look at together: each takes a file descriptor."""
_SECONDS_TO_DIE = 5.0
"""How long a process may take to end after SIGKILL; one in a system call that hangs never does."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets away."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_descendants(grace: float) -> None:
    """End all descendants: SIGTERM, then SIGKILL for those that are left after `grace` seconds."""
    with _descendants() as processes:
        _send(processes, signal.SIGTERM)
        _send(processes, signal.SIGCONT)  # a stopped process cannot end
    if not _wait_for_all(time.monotonic() + grace):
        _kill_all(time.monotonic() + _SECONDS_TO_DIE)


def _kill_all(deadline: float) -> None:
    """Send SIGKILL until none is left: one may have forked in the meantime."""
    while time.monotonic() < deadline:
        with _descendants() as processes:
            if not processes:
                return
            _send(processes, signal.SIGKILL)
            _wait_for_any(processes, deadline)


def _wait_for_all(deadline: float) -> bool:
    """Return whether all descendants have ended by the deadline."""
    while True:
        with _descendants() as processes:
            if not processes or not _wait_for_any(processes, deadline):
                return not processes


def _wait_for_any(processes: Sequence[int], deadline: float) -> bool:
    """Wait until one of the processes has ended; return False at the deadline."""
    left = max(0.0, deadline - time.monotonic())
    poll = select.poll()
    for process in processes:
        poll.register(process, select.POLLIN)
    return bool(poll.poll(left * 1000))


def _send(processes: Sequence[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):  # ended, or another user's by now
            signal.pidfd_send_signal(process, number)


@contextmanager
def _descendants() -> Iterator[Sequence[int]]:
    """Yield a descriptor of each living descendant; unlike its ID, it is never another's."""
    with ExitStack() as stack:
        processes = []
        for pid in islice(_below(os.getpid(), _children()), _MOST_AT_ONCE):
            with suppress(ProcessLookupError):
                processes.append(os.pidfd_open(pid))
                stack.callback(os.close, processes[-1])
        yield processes


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
