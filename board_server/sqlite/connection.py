"""Open connections to a board file."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import apsw

from board_server.errors import StoreUnavailable
from board_server.files.identity import identity, version
from board_server.sqlite.checkpoints import BUSY_TIMEOUT
from board_server.sqlite.identity import LOG_SIZE_LIMIT
from board_server.sqlite.migrate import check_schema
from board_server.sqlite.settings import Synchronous

FIRST_SAFE_SQLITE = 3_051_003
"""As sqlite3_libversion_number. Versions 3.7.0 to 3.51.2 can lose committed
transactions when a checkpoint meets a WAL reset
(https://sqlite.org/wal.html#the_wal_reset_bug)."""


class UnsafeSqlite(RuntimeError):
    """The installed SQLite library can lose committed transactions."""


class TooManySteps(Exception):
    """A query takes more steps than its limit."""


PROGRESS_INTERVAL = 100
"""Steps of SQLite's virtual machine between two checks of the limit."""


def require_safe_sqlite() -> None:
    """Raise UnsafeSqlite on a version that has the WAL reset bug."""
    if apsw.SQLITE_VERSION_NUMBER < FIRST_SAFE_SQLITE:
        raise UnsafeSqlite(
            f"SQLite {apsw.sqlite_lib_version()} can lose committed writes "
            "(sqlite.org/wal.html#the_wal_reset_bug); install apsw 3.51.3.0 or newer"
        )


def connect(path: Path, *, create: bool = False) -> apsw.Connection:
    """Open the file, with 5 s to wait for locks. An existing file is not changed."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(BUSY_TIMEOUT)
    return connection


class CannotReadOnly(StoreUnavailable):
    """A board cannot be read without changing its files. It may be intact."""


@contextmanager
def connect_to_read(path: Path) -> Iterator[apsw.Connection]:
    """Open a board file in a read transaction, without changing its files.

    Raises StoreUnavailable if the file is not a board, if another file takes its path meanwhile
    (the log beside it would be the other file's), or if another user writes meanwhile to a file
    that this user cannot write. Raises CannotReadOnly if SQLite would have to change something.
    """
    before = path.stat()
    has_log = Path(f"{path}-wal").exists()
    _refuse_interrupted(path)
    with closing(_open_to_read(path, has_log=has_log)) as connection:
        unlocked = connection.readonly("main") and not has_log
        if has_log:  # otherwise SQLite creates one, and must remove it
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        connection.execute("BEGIN")
        check_schema(connection)  # its first read begins the transaction
        if identity(path.stat()) != identity(before):
            raise StoreUnavailable("it was replaced while it was opened; repeat the command")
        yield connection
        if unlocked and version(path.stat()) != version(before):
            raise StoreUnavailable("it was written while it was read; repeat the command")


def _refuse_interrupted(path: Path) -> None:
    """Raise CannotReadOnly if an interrupted writer left its rollback journal.

    SQLite would roll the write back. Only SQLite can find out whether the writer is still
    running, with a connection that may not write.
    """
    journal = Path(f"{path}-journal")
    try:
        with journal.open("rb") as file:
            if file.read(1) in {b"", b"\0"}:  # the journal of a finished write
                return
    except FileNotFoundError:
        return
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(BUSY_TIMEOUT)
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
    except apsw.ReadOnlyError as error:
        raise CannotReadOnly(
            f"another program was interrupted in a write, which {journal.name} has to roll back; "
            "start a server, which does that when it opens the board, and repeat the command"
        ) from error


def _open_to_read(path: Path, *, has_log: bool) -> apsw.Connection:
    """Connect, and keep SQLite from creating files that it cannot remove.

    To read a board, SQLite needs a log and its index, and creates them with the mode of the
    board's file. If this user cannot write that file, they would stay, and the server could not
    write them. So a file without a log is opened as immutable, without locks.
    """
    connection = connect(path)
    if not connection.readonly("main"):
        return connection
    index = Path(f"{path}-shm")
    if has_log and index.exists():
        return connection
    connection.close()
    if has_log:
        raise CannotReadOnly(
            f"this user cannot write the file; to read its log, SQLite would create {index.name}, "
            "which the server could not write; make the file writable, and repeat the command"
        )
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(f"file:{quote(str(path))}?immutable=1", flags=flags)


def configure(connection: apsw.Connection, synchronous: Synchronous) -> None:
    """Set WAL mode, durability, foreign keys, and the size limit of the log."""
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.pragma("foreign_keys", True)
    connection.pragma("journal_size_limit", LOG_SIZE_LIMIT)


@contextmanager
def limit_steps(connection: apsw.Connection, steps: int) -> Iterator[None]:
    """Interrupt the queries of a `with` block after this many steps. Raises TooManySteps.

    A step is an instruction of SQLite's virtual machine: finding a row takes about twenty,
    skipping one about five. The block must not begin or end a transaction, which could be
    interrupted.
    """
    left = steps

    def count() -> bool:
        nonlocal left
        left -= PROGRESS_INTERVAL
        return left < 0

    connection.set_progress_handler(count, PROGRESS_INTERVAL)
    try:
        yield
    except apsw.InterruptError as error:
        raise TooManySteps from error
    finally:
        connection.set_progress_handler(None)
