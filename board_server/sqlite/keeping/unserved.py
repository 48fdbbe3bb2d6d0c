"""Have a board file to oneself, as only a server has it otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from board_server.errors import StoreUnavailable
from board_server.sqlite.files import require_one_name
from board_server.sqlite.lock import FileLock


class CannotKeep(Exception):
    """What was asked for is refused, or came to nothing. Its text says why and what to do."""


@contextmanager
def unserved(board: Path) -> Iterator[None]:
    """Keep servers off the board for a `with` block. Raises CannotKeep if one has it."""
    path = board.with_name(f"{board.name}.lock")
    try:
        require_one_name(board)
        lock = FileLock(path)
    except StoreUnavailable as error:
        raise CannotKeep(error.located) from error
    except OSError as error:
        raise CannotKeep(f"{path}: {error.strerror}; run this as the boards' owner") from error
    try:
        yield
    finally:
        lock.release()
