"""Command: a child process of `board run`, with the signals that `board run` gets."""

import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from board_client.cli.descendants import adopt_orphans, end_descendants

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_BY_TERMINAL = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

_TIED = Path(__file__).with_name("tied.py")


class Command:
    """A command that runs during a `with` block, with our input and output.

    It is a process group of its own, so that a signal reaches every process that it
    starts, unless its input is the terminal, which only our group can read. If we are
    killed, it gets SIGTERM. After its end, a signal makes `pause` return.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environment = environment
        self._interactive = os.isatty(0)
        self._terminal = termios.tcgetattr(0) if self._interactive else None
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._late = os.eventfd(0)
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, self._forward) for number in _FORWARDED}
        adopt_orphans()
        # -I, -S: import nothing from the working directory or from installed packages.
        tie = [sys.executable, "-I", "-S", str(_TIED), str(os.getpid())]
        self._process = subprocess.Popen(
            [*tie, *self._arguments],
            env=self._environment,
            process_group=None if self._interactive else 0,
        )
        for number in self._early:
            self._send(number)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._restore_terminal()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._late)

    def wait(self) -> int:
        """Wait for its end; return its exit code, or 128 + N if signal N ended it, as shells do."""
        assert self._process
        while (ended := self._next_to_end()) != self._process.pid:
            with suppress(ChildProcessError):  # `end` has collected it, in another thread
                os.waitpid(ended, 0)  # an orphan that this process has adopted
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def pause(self, seconds: float) -> bool:
        """Wait; return False at once if a signal has come since the command ended."""
        return not select.select([self._late], [], [], seconds)[0]

    def end(self, grace: float) -> None:
        """End it and every process that it has started; kill what is left after `grace` seconds."""
        end_descendants(grace)
        self._reap()

    def _reap(self) -> None:
        """Collect ended processes, but not the command itself, which `wait` collects."""
        assert self._process
        with suppress(ChildProcessError):  # there are none
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                if ended.si_pid == self._process.pid:
                    return
                os.waitpid(ended.si_pid, 0)

    @staticmethod
    def _next_to_end() -> int:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended
        return ended.si_pid

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        elif self._has_ended():
            os.eventfd_write(self._late, 1)
        elif not (number in _BY_TERMINAL and self._in_foreground()):
            self._send(number)

    def _has_ended(self) -> bool:
        assert self._process
        try:
            how = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, how) is not None
        except ChildProcessError:  # it has ended, and was collected
            return True

    def _restore_terminal(self) -> None:
        """Restore the terminal's modes, which a command that was killed could not do."""
        if self._terminal is None:
            return
        # If an interactive shell is in the foreground, SIGTTOU would stop us.
        handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError, termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSANOW, self._terminal)
        signal.signal(signal.SIGTTOU, handler)

    def _in_foreground(self) -> bool:
        """Return whether the terminal sends its signals to the command too."""
        try:
            return self._interactive and os.tcgetpgrp(0) == os.getpgrp()
        except OSError:  # the terminal is gone
            return False

    def _send(self, number: int) -> None:
        assert self._process
        with suppress(ProcessLookupError):  # it has ended
            if self._interactive:
                self._process.send_signal(number)
            else:
                os.killpg(self._process.pid, number)
