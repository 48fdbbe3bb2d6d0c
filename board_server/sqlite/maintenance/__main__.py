"""`board backup`, `restore`, `doctor` and `compact`: the operator's commands for board files."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import apsw
import typer
from rich.console import Console
from rich.progress import Progress as Bar

from board_server.command_output import Json, json_wanted, print_error, print_json, run
from board_server.config.schema import BadConfig
from board_server.config.sources import PREFIX, read_file, refuse_empty
from board_server.errors import BoardError, StorageError
from board_server.model import is_board_name
from board_server.sqlite.directory import SUFFIX
from board_server.sqlite.maintenance.backup import back_up
from board_server.sqlite.maintenance.compact import compact as compact_board
from board_server.sqlite.maintenance.copying import Progress
from board_server.sqlite.maintenance.doctor import examine
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from board_server.sqlite.maintenance.origin import name_of
from board_server.sqlite.maintenance.restore import restore as restore_from

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
    help="Maintain the board files of a directory. Run it on the machine that has the files.",
)


def _read_settings(ctx: typer.Context, path: Path | None) -> Path | None:
    """Use the server's settings where neither the command line nor the environment sets one."""
    refuse_empty()
    return read_file(ctx, path)


Directory = Annotated[
    Path,
    typer.Option(
        "--dir",
        metavar="DIR",
        envvar=f"{PREFIX}DIRECTORY",
        help="Directory of the board files.",
    ),
]
Name = Annotated[
    str,
    typer.Option(
        "--board",
        envvar=["BOARD_NAME", f"{PREFIX}BOARD"],
        help="The board; the name of DIR if this is not set.",
    ),
]
Settings = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar=f"{PREFIX}CONFIG",
        is_eager=True,
        callback=_read_settings,
        help="Settings file of the server, for the directory of its boards.",
    ),
]
BOARDS = Path("boards")


@app.command()
def backup(
    file: Annotated[
        Path | None,
        typer.Argument(help="The backup to write; replaces an older one of the same board."),
    ] = None,
    all_into: Annotated[
        Path | None,
        typer.Option(
            "--all", metavar="INTO", help="Back up every board of DIR to INTO/NAME.backup."
        ),
    ] = None,
    directory: Directory = BOARDS,
    board: Name = "",
    config: Settings = None,  # noqa: ARG001  its callback reads it
    force: Annotated[
        bool, typer.Option("--force", help="Also replace a backup of another board.")
    ] = False,
    json: Json = False,
) -> None:
    """Copy a board to FILE as of one revision. Its server may keep running."""
    if file and not all_into:
        made = _back_up(_path(directory, board), file, force=force)
        if json:
            print_json(made)
    elif all_into and not file:
        raise typer.Exit(int(not _back_up_all(directory, all_into, force=force)))
    else:
        raise typer.BadParameter("give either FILE or --all INTO")


def _back_up_all(directory: Path, into: Path, *, force: bool) -> bool:
    """Back up all boards, even if some fail; return whether all succeeded."""
    if not into.is_dir():
        raise MaintenanceError(f"{into} is not a directory; create it, or name another")
    found = sorted(directory.glob(f"*{SUFFIX}"))
    boards = [path for path in found if is_board_name(name_of(path))]
    if not boards:
        raise MaintenanceError(f"{directory}: there is no board")
    made = []
    for path in boards:
        try:
            made.append(_back_up(path, into / f"{name_of(path)}.backup", force=force))
        except REFUSALS as error:
            _print_error(f"{name_of(path)}: {_text(error)}")
    if json_wanted():
        print_json(made)
    return len(made) == len(boards)


def _back_up(path: Path, file: Path, *, force: bool) -> dict[str, object]:
    """Back up a board; return the result for `--json`."""
    with _bar(name_of(path)) as progress:
        revision = back_up(path, file, progress, force=force)
    if not json_wanted():
        print(f"{file}: board {name_of(path)}, revision {revision}, verified")  # noqa: T201
    return {"file": str(file), "board": name_of(path), "revision": revision}


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    directory: Directory = BOARDS,
    board: Name = "",
    config: Settings = None,  # noqa: ARG001  its callback reads it
    force: Annotated[bool, typer.Option("--force", help="Rename an existing board.")] = False,
    json: Json = False,
) -> None:
    """Restore a board from FILE. Stop its server first. Watchers will take a new snapshot."""
    path = _path(directory, board)
    revision, aside = restore_from(file, path, force=force)
    if json:
        renamed = str(aside) if aside else None
        print_json({"path": str(path), "revision": revision, "renamed": renamed})
        return
    print(f"{path}: restored at revision {revision}")  # noqa: T201
    if aside:
        print(f"the old board is {aside}; remove it when you no longer need it")  # noqa: T201


@app.command()
def compact(
    directory: Directory = BOARDS,
    board: Name = "",
    config: Settings = None,  # noqa: ARG001  its callback reads it
    keep_revisions: Annotated[
        int,
        typer.Option(
            min=0,
            envvar=f"{PREFIX}KEEP_REVISIONS",
            help="Revisions whose events to keep, for watches to resume from.",
        ),
    ] = 100_000,
    json: Json = False,
) -> None:
    """Drop old events and idempotency keys, and shrink the file. Stop the server first."""
    path = _path(directory, board)
    before, after = compact_board(path, keep_revisions)
    if json:
        print_json({"path": str(path), "bytes_before": before, "bytes_after": after})
        return
    print(f"{path}: {before:,} bytes before, {after:,} now")  # noqa: T201


@app.command()
def doctor(
    directory: Directory = BOARDS,
    only: Annotated[  # not "board", which would take the default board of the settings
        str,
        typer.Option(
            "--board", envvar="BOARD_NAME", help="The board; all boards of DIR if this is not set."
        ),
    ] = "",
    config: Settings = None,  # noqa: ARG001  its callback reads it
    json: Json = False,
) -> None:
    """Examine one board, or all of DIR, served or not. Exit code 1 if there is anything to do."""
    paths = [_path(directory, only)] if only else sorted(directory.glob(f"*{SUFFIX}"))
    if not any(map(os.path.lexists, paths)):
        raise MaintenanceError(f"{paths[0] if only else directory}: there is no board")
    faulty = False
    records = []
    for path in paths:
        findings = []
        if not json:
            print(path)  # noqa: T201
        for what, advice in examine(path):
            faulty |= bool(advice)
            findings.append({"finding": what, "advice": advice or None})
            if not json:
                _print_finding(what, advice)
        records.append({"path": str(path), "findings": findings})
    if json:
        print_json(records)
    raise typer.Exit(int(faulty))


def _print_finding(what: str, advice: str) -> None:
    print(f"  {'✗' if advice else '✓'} {_visible(what)}")  # noqa: T201
    if advice:
        print(f"    {advice}")  # noqa: T201


def _path(directory: Path, board: str) -> Path:
    name = board or directory.resolve().name
    if not is_board_name(name):
        raise MaintenanceError(f'"{name}" cannot name a board; name it with --board')
    return directory / f"{name}{SUFFIX}"


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    """Show a progress bar if standard error is a terminal."""
    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


REFUSALS = (MaintenanceError, BadConfig, BoardError, apsw.Error, OSError)


def main() -> None:
    """Run a command; if it fails, print the reason in one line and exit with 1."""
    os.umask(0o077)  # boards are for their owner only
    # An exception ends the `with` blocks, which remove temporary files.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        run(app, "board")
    except REFUSALS as error:
        _print_error(_text(error))
        sys.exit(1)


def _text(error: Exception) -> str:
    if isinstance(error, StorageError):
        return error.located
    if isinstance(error, OSError):
        return f"{error.filename or 'cannot continue'}: {error.strerror}"
    return str(error)


def _print_error(why: str) -> None:
    print_error("board", why if json_wanted() else _visible(why))


def _visible(text: str) -> str:
    """Escape control characters, which a damaged or hostile file may contain."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


if __name__ == "__main__":
    main()
