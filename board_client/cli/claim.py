"""`board claim`, `release`, `owner`, `claims`: which phase may edit which file."""

from typing import Annotated

import typer

from board_client.cli.completion import complete_phase
from board_client.cli.connection import connect_board
from board_client.cli.output import Answer, Column, Table, plural, rfc3339
from board_client.cli.paths import repository_path, repository_paths
from board_client.cli.settings import OWN_PHASE, settings
from board_client.cli.visible import visible

Owner = Annotated[
    str,
    typer.Option(
        "--phase",
        "--owner",
        metavar="PHASE",
        envvar=OWN_PHASE,
        autocompletion=complete_phase,
        help="The phase that edits the files.",
    ),
]


def claim(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="A file of the repository.")],
    owner: Owner,
) -> Answer:
    """Claim files for a phase, all of them or none.

    If other phases have some of the files, print which and exit with 3.

    Example: board claim internal/board/board.go go.mod --phase board-store
    """
    files = repository_paths(paths)
    with connect_board(settings(ctx)) as client:
        claims = client.claim_files(files, owner)
    return Answer(claims, f"{visible(owner)} has {plural(len(claims), 'file')}")


def release(
    ctx: typer.Context,
    owner: Owner,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Without one, all files that the phase has."),
    ] = None,
) -> Answer:
    """Release files that a phase has claimed. Files of other phases stay claimed."""
    files = repository_paths(paths or ())
    with connect_board(settings(ctx)) as client:
        released = client.release_claims(owner, files or None)
    return Answer({"released": released}, f"{visible(owner)} released {plural(released, 'file')}")


def owner(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file of the repository.")],
) -> Answer:
    """Print which phase has claimed a file.

    If none has, print an empty line.
    """
    file = repository_path(path)
    with connect_board(settings(ctx)) as client:
        found = client.file_owner(file)
    return Answer({"owner": found}, visible(found))


def claims(
    ctx: typer.Context,
    owner: Annotated[
        str | None,
        typer.Option(
            "--phase",
            "--owner",
            metavar="PHASE",
            envvar=OWN_PHASE,
            autocompletion=complete_phase,
            help="List only the files of this phase.",
        ),
    ] = None,
    everyone: Annotated[
        bool,
        typer.Option("--all", help=f"List the files of all phases, even if {OWN_PHASE} is set."),
    ] = False,
) -> Answer:
    """List the claimed files by path."""
    with connect_board(settings(ctx)) as client:
        found = client.list_claims(None if everyone else owner)
    rows = [(each.filepath, each.owner, rfc3339(each.claimed_at)) for each in found]
    return Answer(found, Table([Column("path"), Column("owner"), Column("claimed")], rows))
