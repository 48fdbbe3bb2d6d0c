"""The `board` command."""

import os
import sys

# Before grpc is imported: what it would log of its own says nothing that our
# errors do not say better.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from board_client.cli.failure import ExitCode, Failure, report

__all__ = ["main"]


def main() -> None:
    """Run the command line; exit with one of the codes of `ExitCode`."""
    from board_client.cli.app import app  # noqa: PLC0415  after GRPC_VERBOSITY is set

    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file
    try:
        app(prog_name="board")
    except Failure as failure:
        report(failure)
        sys.exit(failure.code)
    except OSError as error:
        report(Failure(str(error)))
        sys.exit(ExitCode.ERROR)
