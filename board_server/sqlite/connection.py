"""Connections to a board file: how they are set up."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.sqlite.checkpoints import BUSY_TIMEOUT
from board_server.sqlite.migrate import check
from board_server.sqlite.settings import Synchronous

FIRST_SAFE_SQLITE = 3_051_003
"""As sqlite3_libversion_number. Versions 3.7.0 to 3.51.2 can lose committed
transactions when a checkpoint meets a WAL reset
(https://sqlite.org/wal.html#the_wal_reset_bug)."""


class UnsafeSqlite(RuntimeError):
    """The SQLite library at hand can lose committed transactions."""


class TooManySteps(Exception):
    """A query takes more steps than it may."""


COUNTED_AT_ONCE = 100
"""Steps of SQLite's virtual machine between two looks at how many there were."""


def require_safe_sqlite() -> None:
    """Raise UnsafeSqlite on a version that has the WAL reset bug."""
    if apsw.SQLITE_VERSION_NUMBER < FIRST_SAFE_SQLITE:
        raise UnsafeSqlite(
            f"SQLite {apsw.sqlite_lib_version()} can lose committed writes "
            "(sqlite.org/wal.html#the_wal_reset_bug); install apsw 3.51.3.0 or newer"
        )


def connect(path: Path, *, create: bool = False) -> apsw.Connection:
    """Open the file and wait up to 5 s for its locks. Changes nothing in an existing file."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(BUSY_TIMEOUT)
    return connection


@contextmanager
def connect_to_read(path: Path) -> Iterator[apsw.Connection]:
    """Open a board file in a transaction, as it is at one moment, and leave its log as it is.

    Raises StoreUnavailable for a file that is no board, and if another file is put at the path
    meanwhile: the log beside it would be that one's.
    """
    before = os.stat(path)  # noqa: PTH116  for samestat
    has_log = Path(f"{path}-wal").exists()
    with closing(connect(path)) as connection:
        if has_log:  # else SQLite makes one to read, and is to remove it
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        connection.execute("BEGIN")
        check(connection)  # its first read is the moment
        if not os.path.samestat(before, os.stat(path)):  # noqa: PTH116
            raise StoreUnavailable("it was replaced while it was being opened; repeat the command")
        yield connection


def configure(connection: apsw.Connection, synchronous: Synchronous) -> None:
    """Set WAL mode, durability and foreign keys; keep the WAL file under 64 MiB when idle."""
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.pragma("foreign_keys", True)
    connection.pragma("journal_size_limit", 64 * 2**20)


@contextmanager
def at_most(connection: apsw.Connection, steps: int) -> Iterator[None]:
    """Interrupt the queries of a `with` block once they take more steps; raises TooManySteps.

    A step is one of SQLite's virtual machine: to find a row takes some twenty, to pass over one
    some five. The block must not begin or end a transaction, lest its end be interrupted.
    """
    left = steps

    def count() -> bool:
        nonlocal left
        left -= COUNTED_AT_ONCE
        return left < 0

    connection.set_progress_handler(count, COUNTED_AT_ONCE)
    try:
        yield
    except apsw.InterruptError as error:
        raise TooManySteps from error
    finally:
        connection.set_progress_handler(None)
