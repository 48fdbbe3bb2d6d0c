"""Look at a board file, served or not, and say what is wrong with it and what to do."""

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
from board_server.sqlite.files import require_one_name
from board_server.sqlite.maintenance.aside import put_aside_before
from board_server.sqlite.migrate import migrations

MANY = 5
"""Faults of one sort that are told; where there are more, the file is to be restored anyway."""

LARGE_LOG = 256 * 2**20
"""Bytes of a write-ahead log that checkpoints should long have emptied."""

LITTLE_ROOM = 64 * 2**20
"""Bytes left on the file system under which the next log may not fit."""


class Finding(NamedTuple):
    """One thing that was looked at; `advice` is what to do about it, "" if it is well."""

    what: str
    advice: str = ""


def examine(board: Path) -> Iterator[Finding]:
    """Look at all there is to see of one board, changing nothing."""
    try:
        require_one_name(board)
    except StoreUnavailable as error:
        yield Finding("no server opens it", str(error))
    if not board.exists():
        return
    yield _sqlite()
    yield _holder(board)
    yield _room(board)
    yield _log(board)
    yield from _leftovers(board)
    yield from _contents(board)


def faults(board: Path) -> Iterator[str]:
    """Tell what is wrong with the contents of a board file, in words; nothing if it is sound.

    Raises CannotReadOnly.
    """
    try:
        if not board.stat().st_size:
            yield "it is empty"
            return
        with rows.reading(), connect_to_read(board) as db:
            if db.readonly("main") and os.access(board, os.W_OK, effective_ids=True):
                yield "its header says that it is of a later format of SQLite's, to be read only"
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
    for (text,) in db.execute(f"PRAGMA integrity_check({MANY})"):
        if text != "ok":
            yield text
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} belongs to a row of {parent} that is not there"


def _sqlite() -> Finding:
    try:
        require_safe_sqlite()
    except UnsafeSqlite as error:
        return Finding(f"SQLite {apsw.sqlite_lib_version()}", str(error))
    return Finding(f"SQLite {apsw.sqlite_lib_version()}")


def _holder(board: Path) -> Finding:
    """Tell who serves the file. The lock is tried for a moment, and shared."""
    path = board.with_name(f"{board.name}.lock")
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return Finding("no server has it")
    except OSError as error:
        advice = f"run this as the boards' owner: {path} cannot be read"
        return Finding(f"who serves it cannot be told: {error.strerror}", advice)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding(f"served by {os.read(file, 200).decode(errors='replace').strip()}")
    else:
        return Finding("no server has it")
    finally:
        os.close(file)


def _room(board: Path) -> Finding:
    free = shutil.disk_usage(board.parent).free
    advice = "make room: soon nothing can be written" if free < LITTLE_ROOM else ""
    return Finding(f"{board.stat().st_size:,} bytes; {free:,} left on its file system", advice)


def _log(board: Path) -> Finding:
    log = Path(f"{board}-wal")
    size = log.stat().st_size if log.exists() else 0
    advice = (
        "something has been reading for very long, another program perhaps: end it; "
        "restarting the server empties the log"
        if size > LARGE_LOG
        else ""
    )
    return Finding(f"write-ahead log of {size:,} bytes", advice)


def _leftovers(board: Path) -> Iterator[Finding]:
    left = board.with_name(f"{board.name}.restoring")
    if left.exists():
        yield Finding(f"{left.name} was left behind", f"an interrupted command: remove {left}")
    for aside in put_aside_before(board):
        if aside.exists() and aside.samefile(board):
            advice = "a restore was interrupted: repeat it with --force, or remove this name"
            yield Finding(f"{aside.name} is still the board itself", advice)
        else:
            what = "is the board before it was restored" if aside.exists() else "is a lone log"
            yield Finding(f"{aside.name} {what}; remove it when you will")


def _contents(board: Path) -> Iterator[Finding]:
    restore = "stop the server, keep a copy of the file, and board restore the last good backup"
    try:
        found = [*_first(faults(board), MANY)]
    except CannotReadOnly as error:
        yield Finding("its contents cannot be read without a change of its files", str(error))
        return
    for fault in found:
        yield Finding(fault, restore)
    if not found:
        yield Finding("its contents are sound, and its events tell of all of it")
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
        return Finding(f"schema {version}; the next server brings it to {len(migrations())}")
    return Finding(f"schema {version}")
