"""`board archive`: store a finished board in a file, and empty it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from board_client.cli.connection import connect, failure_of
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import plural, print_json, print_line
from board_client.cli.settings import Json, settings
from board_client.cli.visible import visible


def archive(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; made, never replaced.")],
    json: Json = False,
) -> None:
    """Store a board in FILE as JSON lines, then remove all of it from the board.

    Nothing is removed that is not in the file, synced to disk.
    """
    from board_client.archive import archive as store  # noqa: PLC0415  it imports grpc
    from board_client.errors import BoardError  # noqa: PLC0415  likewise

    given = settings(ctx, json)
    with connect(given) as client:
        try:
            lost = store(client, file)
        except FileExistsError as error:
            raise Failure(f"{file} exists already; name another", ExitCode.BAD_INPUT) from error
        except BoardError as error:
            if not file.exists():
                raise
            failure = failure_of(error, given.target)
            kept = f"the board may be empty already, so {file} is kept; see `board status`"
            raise Failure(f"{failure}; {kept}", failure.code) from error
        except OSError as error:
            raise Failure(f"cannot write {file}: {error.strerror}") from error
    if given.json:
        print_json(asdict(lost))
    else:
        print_line(
            f"{visible(str(file))}: {plural(lost.phases, 'phase')}, "
            f"{plural(lost.contracts, 'contract')} and {plural(lost.claims, 'claim')}, "
            "which the board no longer has"
        )
