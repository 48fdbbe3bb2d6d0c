"""Runs the maintenance commands in the test's process: a new process takes half a second."""

import os
import signal
import sys
from typing import NamedTuple

import pytest

from board_server.sqlite.maintenance.__main__ import main


class Ended(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command with these arguments and variables."""
    umask, terminated = os.umask(0o077), signal.getsignal(signal.SIGTERM)

    def run(*arguments, **environment):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["board", *map(str, arguments)])
            for name in [name for name in os.environ if name.startswith("BOARD_")]:
                patched.delenv(name)
            for name, value in environment.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        return Ended(ended.value.code, *capsys.readouterr())

    yield run
    os.umask(umask)
    signal.signal(signal.SIGTERM, terminated)
