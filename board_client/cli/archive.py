"""`board archive`: store a finished board in a file, and empty it."""

from pathlib import Path
from typing import Annotated

import typer

from board_client.cli.connection import connect_board, failure_of
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import Answer, plural
from board_client.cli.settings import settings
from board_client.cli.visible import visible


def archive(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to create; must not exist.")],
) -> Answer:
    """Store a board in a file, then empty the board.

    The file has JSON lines. Only what is in the file, synced to disk, is removed.
    """
    from board_client.archive import archive as store  # noqa: PLC0415  it imports grpc
    from board_client.errors import BoardError  # noqa: PLC0415  likewise

    given = settings(ctx)
    with connect_board(given) as client:
        try:
            removed = store(client, file)
        except FileExistsError as error:
            raise Failure(f"{file} exists already; name another", ExitCode.BAD_INPUT) from error
        except BoardError as error:
            if not file.exists():
                raise
            failure = failure_of(error, given.target)
            kept = f"the board may be empty already, so {file} is kept; see `board status`"
            raise Failure(
                f"{failure}; {kept}", failure.code, failure.reason, failure.metadata
            ) from error
        except OSError as error:
            raise Failure(f"cannot write {file}: {error.strerror}") from error
    return Answer(
        removed,
        f"{visible(str(file))}: {plural(removed.phases, 'phase')}, "
        f"{plural(removed.contracts, 'contract')} and {plural(removed.claims, 'claim')}, "
        "which the board no longer has",
    )
