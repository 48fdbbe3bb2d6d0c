"""Examine a board file, served or not: what is wrong with it, and what to do."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from board_server.errors import StoreUnavailable
from board_server.sqlite import rows
from board_server.sqlite.audit import differences
from board_server.sqlite.connection import (
    CannotReadOnly,
    UnsafeSqlite,
    connect_to_read,
    require_safe_sqlite,
)
from board_server.sqlite.files import refuse_links
from board_server.sqlite.maintenance.aside import earlier_asides
from board_server.sqlite.migrate import migrations

MAX_FAULTS = 5
"""Most faults to report; a file with more has to be restored anyway."""

LARGE_LOG = 256 * 2**20
"""Bytes of a write-ahead log that is too large: no checkpoint has emptied it for a long time."""

MIN_FREE = 64 * 2**20
"""Free bytes of the file system below which the next write-ahead log may not fit."""


class Finding(NamedTuple):
    """The result of one check; `advice` is what to do, "" if nothing is wrong."""

    what: str
    advice: str = ""


def examine(board: Path) -> Iterator[Finding]:
    """Run all checks of one board. They change nothing."""
    try:
        refuse_links(board)
    except StoreUnavailable as error:
        yield Finding("no server can open it", str(error))
    if not board.exists():
        return
    yield _sqlite()
    yield _holder(board)
    yield _room(board)
    yield _log(board)
    yield from _leftovers(board)
    yield from _contents(board)


def faults(board: Path) -> Iterator[str]:
    """Yield a description of each fault in the contents of a board file.

    Raises CannotReadOnly.
    """
    try:
        if not board.stat().st_size:
            yield "it is empty"
            return
        with rows.reading(), connect_to_read(board) as db:
            if db.readonly("main") and os.access(board, os.W_OK, effective_ids=True):
                yield "its header names a later file format of SQLite, which is read-only here"
            sound = True
            for fault in _broken(db):
                sound = False
                yield fault
            if sound and db.table_exists(None, "events"):
                yield from differences(db)
    except CannotReadOnly:
        raise
    except (apsw.Error, OSError, StoreUnavailable) as error:
        yield str(error)


def _broken(db: apsw.Connection) -> Iterator[str]:
    for (text,) in db.execute(f"PRAGMA integrity_check({MAX_FAULTS})"):
        if text != "ok":
            yield text
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a row of {parent} that is not there"


def _sqlite() -> Finding:
    try:
        require_safe_sqlite()
    except UnsafeSqlite as error:
        return Finding(f"SQLite {apsw.sqlite_lib_version()}", str(error))
    return Finding(f"SQLite {apsw.sqlite_lib_version()}")


def _holder(board: Path) -> Finding:
    """Find the server of the file: try to take a shared lock, and release it at once."""
    path = board.with_name(f"{board.name}.lock")
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return Finding("no server has it open")
    except OSError as error:
        advice = f"run this as the boards' owner: {path} cannot be read"
        return Finding(f"cannot tell whether it is served: {error.strerror}", advice)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding(f"served by {os.read(file, 200).decode(errors='replace').strip()}")
    else:
        return Finding("no server has it open")
    finally:
        os.close(file)


def _room(board: Path) -> Finding:
    free = shutil.disk_usage(board.parent).free
    advice = "free some space: writes will soon fail" if free < MIN_FREE else ""
    return Finding(f"{board.stat().st_size:,} bytes; {free:,} left on its file system", advice)


def _log(board: Path) -> Finding:
    log = Path(f"{board}-wal")
    size = log.stat().st_size if log.exists() else 0
    advice = (
        "a long read, perhaps by another program, prevents SQLite from emptying it: end that "
        "program, or restart the server"
        if size > LARGE_LOG
        else ""
    )
    return Finding(f"write-ahead log of {size:,} bytes", advice)


def _leftovers(board: Path) -> Iterator[Finding]:
    left = board.with_name(f"{board.name}.restoring")
    if left.exists():
        yield Finding(
            f"{left.name} was left behind", f"remove {left}; an interrupted command left it"
        )
    for aside in earlier_asides(board):
        if aside.exists() and aside.samefile(board):
            advice = "a restore was interrupted: repeat it with --force, or remove this file name"
            yield Finding(f"{aside.name} is still the board itself", advice)
        else:
            what = "is the board before a restore" if aside.exists() else "is a log without a board"
            yield Finding(f"{aside.name} {what}; remove it when you no longer need it")


def _contents(board: Path) -> Iterator[Finding]:
    restore = "stop the server, keep a copy of the file, and board restore the last good backup"
    try:
        found = [*_first(faults(board), MAX_FAULTS)]
    except CannotReadOnly as error:
        yield Finding("its contents cannot be read without changing its files", str(error))
        return
    for fault in found:
        yield Finding(fault, restore)
    if not found:
        yield Finding("its contents are sound, and match its events")
        yield _schema(board)


def _first(items: Iterator[str], count: int) -> Iterator[str]:
    for number, item in enumerate(items):
        if number == count:
            yield "and more"
            return
        yield item


def _schema(board: Path) -> Finding:
    with connect_to_read(board) as db:
        version = int(db.pragma("user_version"))
    if version < len(migrations()):
        return Finding(f"schema {version}; the next server migrates it to {len(migrations())}")
    return Finding(f"schema {version}")
