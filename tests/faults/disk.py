"""A disk that fails on command, for the real store: an SQLite VFS."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import apsw

NAME = "failing disk"


class FailingDisk(apsw.VFS):
    """A VFS. While it is the default, databases are opened on it."""

    def __init__(self) -> None:
        super().__init__(NAME, "unix", makedefault=True)
        self.failing: dict[str, apsw.Error] = {}

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  apsw's name
        return _File(self, name, flags)

    @contextmanager
    def fails(self, *operations: str, error: apsw.Error) -> Iterator[None]:
        """Let `write` or `sync` fail with this error."""
        self.failing.update(dict.fromkeys(operations, error))
        try:
            yield
        finally:
            self.failing.clear()

    def fail(self, operation: str) -> None:
        if error := self.failing.get(operation):
            # A new one each time: apsw makes an error that it sees twice its own context, and
            # contextlib follows such a chain without end.
            raise copy(error)


class _File(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: object, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  apsw's name
        self._disk.fail("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  apsw's name
        self._disk.fail("sync")
        super().xSync(flags)


def error(kind: type[apsw.Error], extended: int = 0) -> apsw.Error:
    """Make an error as SQLite's own disk would raise it."""
    made = kind("as set by the test")
    if extended:
        made.extendedresult = extended
    return made
