"""The `board` command."""

import os
import sys
from typing import NoReturn

# Before grpc is imported: our errors say what it would log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from board_client.cli.failure import ExitCode, Failure, report

__all__ = ["main"]

_EXTRA = ("typer", "rich")
"""Packages of the extra `[cli]`."""


def main() -> NoReturn:
    """Run the command line; exit with one of the codes of `ExitCode`."""
    _replace_closed_streams()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file
    code = _code()
    _drop_unwritten_output()
    sys.exit(code)


def _replace_closed_streams() -> None:
    """Use /dev/null for each standard stream that the caller has closed, as by `>&-`.

    Otherwise the next file or socket would get the stream's number, and with it all
    that is printed.
    """
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)  # noqa: PTH123, SIM115  open until the end
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _code() -> int:
    try:
        code = _run()
        sys.stdout.flush()
    except Failure as failure:
        report(failure)
        return failure.code
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE  # the reader has read enough, as `head` does
    except OSError as error:
        report(Failure(str(error)))
        return ExitCode.ERROR
    return code


def _drop_unwritten_output() -> None:
    """Drop output that cannot be written: Python would try again at exit, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run() -> int:
    try:
        from board_client.cli import app, command_line  # noqa: PLC0415  after GRPC_VERBOSITY is set
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise Failure(
            f"the `board` command needs {error.name}; pip install 'quasar-board[cli]'"
        ) from error
    return command_line.run(app.app)
