"""The `board` command."""

import os
import sys

# Before grpc is imported: our errors say what it would log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from board_client.cli.failure import ExitCode, Failure, report

__all__ = ["main"]

_EXTRA = ("typer", "rich")
"""Packages of the extra `[cli]`."""


def main() -> None:
    """Run the command line; exit with one of the codes of `ExitCode`."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file
    try:
        _run()
    except Failure as failure:
        report(failure)
        sys.exit(failure.code)
    except OSError as error:
        report(Failure(str(error)))
        sys.exit(ExitCode.ERROR)


def _run() -> None:
    try:
        from board_client.cli.app import app  # noqa: PLC0415  after GRPC_VERBOSITY is set
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise Failure(
            f"the `board` command needs {error.name}; pip install 'quasar-board[cli]'"
        ) from error
    app(prog_name="board")
