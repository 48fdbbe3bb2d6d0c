"""`board backup`, `restore`, `doctor` and `compact`: the operator's commands on board files."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import apsw
import typer
from rich.console import Console
from rich.progress import Progress as Bar

from board_server.errors import BoardError
from board_server.model import is_board_name
from board_server.sqlite.directory import SUFFIX
from board_server.sqlite.keeping.backup import back_up
from board_server.sqlite.keeping.compact import compact as make_small
from board_server.sqlite.keeping.copying import Progress
from board_server.sqlite.keeping.examine import examine
from board_server.sqlite.keeping.restore import restore as restore_from
from board_server.sqlite.keeping.unserved import CannotKeep

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keep the board files of a directory. Run it on the machine that has them.",
)

Directory = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Directory of the board files.")
]
Name = Annotated[
    str,
    typer.Option("--board", envvar="BOARD_NAME", help="The board; named after DIR if not given."),
]
BOARDS = Path("boards")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; an older backup there is replaced.")],
    directory: Directory = BOARDS,
    board: Name = "",
) -> None:
    """Copy a board to FILE as it is at one moment. Its server may go on serving."""
    path = _path(directory, board)
    with _bar("copying") as progress:
        revision = back_up(path, file, progress)
    name = path.name.removesuffix(SUFFIX)
    print(f"{file}: board {name}, revision {revision}, verified")  # noqa: T201


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    directory: Directory = BOARDS,
    board: Name = "",
    force: Annotated[
        bool, typer.Option("--force", help="Put a board that is there aside.")
    ] = False,
) -> None:
    """Make a board of FILE. Stop its server first; watchers will take a new snapshot."""
    path = _path(directory, board)
    revision, aside = restore_from(file, path, force=force)
    print(f"{path}: restored at revision {revision}")  # noqa: T201
    if aside:
        print(f"the board before is {aside}; remove it when you will")  # noqa: T201


@app.command()
def compact(
    directory: Directory = BOARDS,
    board: Name = "",
    keep_revisions: Annotated[
        int, typer.Option(min=0, help="How many revisions a watcher can still go back.")
    ] = 100_000,
) -> None:
    """Drop old events and give free pages back to the disk. Stop the server first."""
    path = _path(directory, board)
    before, after = make_small(path, keep_revisions)
    print(f"{path}: {before:,} bytes before, {after:,} now")  # noqa: T201


@app.command()
def doctor(
    directory: Directory = BOARDS,
    board: Annotated[
        str, typer.Option("--board", envvar="BOARD_NAME", help="The board; all if not given.")
    ] = "",
) -> None:
    """Examine one board, or all of DIR, served or not. Exit code 1 if anything is to be done."""
    paths = [_path(directory, board)] if board else sorted(directory.glob(f"*{SUFFIX}"))
    if not paths or not all(path.exists() for path in paths):
        raise CannotKeep(f"{paths[0] if paths else directory}: there is no board")
    ill = False
    for path in paths:
        print(path)  # noqa: T201
        for what, advice in examine(path):
            ill |= bool(advice)
            print(f"  {'✗' if advice else '✓'} {what}")  # noqa: T201
            if advice:
                print(f"    {advice}")  # noqa: T201
    raise typer.Exit(int(ill))


def _path(directory: Path, board: str) -> Path:
    name = board or directory.resolve().name
    if not is_board_name(name):
        raise CannotKeep(f'"{name}" cannot name a board; say which with --board')
    return directory / f"{name}{SUFFIX}"


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    """Show how far it is on a terminal, and nothing anywhere else."""
    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def main() -> None:
    """Run a command; say in one line why it did not work, and end with 1."""
    os.umask(0o077)  # what boards hold is their readers' business alone
    try:
        app(prog_name="board")
    except OSError as error:
        _refuse(f"{error.filename or 'cannot go on'}: {error.strerror}")
    except (CannotKeep, BoardError, apsw.Error) as error:
        _refuse(str(error))


def _refuse(why: str) -> NoReturn:
    print(f"board: {why}", file=sys.stderr)  # noqa: T201
    sys.exit(1)


if __name__ == "__main__":
    main()
