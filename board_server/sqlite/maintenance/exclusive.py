"""Have a board file to oneself, as only a server has it otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.sqlite.files import require_one_name
from board_server.sqlite.lock import FileLock
from board_server.sqlite.storage_errors import storage_error


class CannotKeep(Exception):
    """What was asked for is refused, or came to nothing. Its text says why and what to do."""


@contextmanager
def unserved(board: Path) -> Iterator[None]:
    """Keep servers off the board for a `with` block, and what reaches it by another name.

    Raises CannotKeep if there is one.
    """
    with refusing(board), locked(board):
        require_one_name(board)
        yield


@contextmanager
def locked(board: Path) -> Iterator[None]:
    """Hold the lock of the board for a `with` block. Raises CannotKeep if a server holds it."""
    path = board.with_name(f"{board.name}.lock")
    try:
        lock = FileLock(path)
    except StoreUnavailable as error:
        raise CannotKeep(error.located) from error
    except OSError as error:
        raise CannotKeep(f"{path}: {error.strerror}; run this as the boards' owner") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def refusing(board: Path) -> Iterator[None]:
    """Raise CannotKeep, naming the board, for what SQLite or the disk refuses in a `with` block."""
    try:
        yield
    except (apsw.Error, OSError, StoreUnavailable) as error:
        raise CannotKeep(storage_error(error, board).located) from error
