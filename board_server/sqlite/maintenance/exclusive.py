"""Exclusive access to a board file, as a server has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from board_server.errors import StoreUnavailable
from board_server.sqlite.files import refuse_links
from board_server.sqlite.lock import FileLock
from board_server.sqlite.storage_errors import storage_error


class MaintenanceError(Exception):
    """A command was refused or failed. Its text says why and what to do."""


@contextmanager
def exclusive(board: Path) -> Iterator[None]:
    """Lock the board's file for a `with` block, and refuse one that has a second name.

    Raises MaintenanceError if a server has the board, or for an error of SQLite or the disk.
    """
    with maintenance_errors(board), locked(board):
        refuse_links(board)
        yield


@contextmanager
def locked(board: Path) -> Iterator[None]:
    """Hold the board's lock for a `with` block. Raises MaintenanceError if a server has it."""
    path = board.with_name(f"{board.name}.lock")
    try:
        lock = FileLock(path)
    except StoreUnavailable as error:
        raise MaintenanceError(error.located) from error
    except OSError as error:
        raise MaintenanceError(
            f"{path}: {error.strerror}; run this as the boards' owner"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def maintenance_errors(board: Path) -> Iterator[None]:
    """Raise MaintenanceError, naming the board, for errors of SQLite or the disk in the block."""
    try:
        yield
    except (apsw.Error, OSError, StoreUnavailable) as error:
        raise MaintenanceError(storage_error(error, board).located) from error
