"""`board claim`, `release`, `owner`, `claims`: which phase may edit which file."""

from dataclasses import asdict
from typing import Annotated

import typer

from board_client.cli.connection import connect
from board_client.cli.output import Column, plural, print_json, print_line, print_table, rfc3339
from board_client.cli.paths import repository_path, repository_paths
from board_client.cli.settings import OWN_PHASE, Json, settings
from board_client.cli.visible import visible

Owner = Annotated[
    str, typer.Option(metavar="PHASE", envvar=OWN_PHASE, help="The phase that edits the files.")
]


def claim(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="A file of the repository.")],
    owner: Owner,
    json: Json = False,
) -> None:
    """Claim files for a phase, all of them or none.

    Exits with 3, and says who has which, when other phases hold any of them.

    Example: board claim internal/board/board.go go.mod --owner board-store
    """
    given = settings(ctx, json)
    files = repository_paths(paths)
    with connect(given) as client:
        claims = client.claim_files(files, owner)
    if given.json:
        print_json([asdict(each) for each in claims])
    else:
        print_line(f"{visible(owner)} has {plural(len(claims), 'file')}")


def release(
    ctx: typer.Context,
    owner: Owner,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="All that the phase holds, if none is given."),
    ] = None,
    json: Json = False,
) -> None:
    """Release files that a phase holds; files of other phases are left alone."""
    given = settings(ctx, json)
    files = repository_paths(paths or ())
    with connect(given) as client:
        released = client.release_claims(owner, files or None)
    if given.json:
        print_json({"released": released})
    else:
        print_line(f"{visible(owner)} released {plural(released, 'file')}")


def owner(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH")],
    json: Json = False,
) -> None:
    """Print which phase has claimed a file; an empty line if none has."""
    given = settings(ctx, json)
    file = repository_path(path)
    with connect(given) as client:
        found = client.file_owner(file)
    if given.json:
        print_json({"owner": found})
    else:
        print_line(visible(found))


def claims(
    ctx: typer.Context,
    owner: Annotated[
        str | None, typer.Option(metavar="PHASE", envvar=OWN_PHASE, help="Only this phase's.")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help=f"Every phase's, even where {OWN_PHASE} is set.")
    ] = False,
    json: Json = False,
) -> None:
    """List the claimed files, in the order of their paths."""
    given = settings(ctx, json)
    with connect(given) as client:
        found = client.list_claims(None if everyone else owner)
    if given.json:
        print_json([asdict(each) for each in found])
    else:
        print_table(
            [Column("path"), Column("owner"), Column("claimed")],
            [(each.filepath, each.owner, rfc3339(each.claimed_at)) for each in found],
        )
