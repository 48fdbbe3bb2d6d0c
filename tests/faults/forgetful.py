"""A disk that loses unsynced writes: a power failure may lose any of them, in any part."""

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import apsw

NAME = "forgetful disk"

SECTOR = 512
"""Bytes of a sector: written completely or not at all."""


@dataclass
class _Kept:
    """A file as of the last sync, and the changes since: bytes at an offset, or a size."""

    synced: bytearray
    since: list[tuple[int, bytes] | int] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.since:
            _apply(self.synced, change)
        self.since.clear()

    def left(self, chance: random.Random) -> bytes:
        """Return the file after a power failure: with any of the unsynced sectors."""
        content = bytearray(self.synced)
        likely = chance.choice((0.0, 0.5, 0.95))
        for change in self.since:
            for part in [change] if isinstance(change, int) else _sectors(*change):
                if chance.random() < likely:
                    _apply(content, part)
        return bytes(content)


class ForgetfulDisk(apsw.VFS):
    """A VFS. While it is the default, databases are opened on it.

    `fails` is called when the power fails: before the `operations`-th write, sync or
    truncation from now on, in the thread that makes it.
    """

    def __init__(self) -> None:
        super().__init__(NAME, "unix", makedefault=True)
        self._lock = threading.Lock()
        self._files: dict[str, _Kept] = {}
        self._left = 0
        self._fails: Callable[[], None] = lambda: None

    def fail_after(self, operations: int, fails: Callable[[], None]) -> None:
        self._left, self._fails = operations, fails

    def leave(self, directory: Path, chance: random.Random) -> None:
        """Write the files as they are after the power failure."""
        for name, kept in self._files.items():
            (directory / Path(name).name).write_bytes(kept.left(chance))

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  apsw's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        with self._lock:
            if path not in self._files:
                there = Path(path).read_bytes() if Path(path).exists() else b""
                self._files[path] = _Kept(bytearray(there))
        return _File(self, self._files[path], name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802  apsw's name
        super().xDelete(name, syncdir)
        with self._lock:
            self._files.pop(os.fspath(name), None)

    def note(self, kept: _Kept, change: tuple[int, bytes] | int | None) -> None:
        """Record a change; None is a sync."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._fails()
            if change is None:
                kept.sync()
            else:
                kept.since.append(change)


class _File(apsw.VFSFile):
    def __init__(self, disk: ForgetfulDisk, kept: _Kept, name: object, flags: list[int]) -> None:
        self._disk, self._kept = disk, kept
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  apsw's name
        super().xWrite(data, offset)
        self._disk.note(self._kept, (offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802  apsw's name
        super().xTruncate(size)
        self._disk.note(self._kept, size)

    def xSync(self, flags: int) -> None:  # noqa: N802  apsw's name
        super().xSync(flags)
        self._disk.note(self._kept, None)


def _apply(content: bytearray, change: tuple[int, bytes] | int) -> None:
    if isinstance(change, int):
        del content[change:]
        return
    offset, data = change
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes] | int]:
    """Split a write at the sectors' boundaries."""
    first = SECTOR - offset % SECTOR
    cuts = [0, *range(first, len(data), SECTOR), len(data)]
    return [(offset + a, data[a:b]) for a, b in pairwise(cuts) if a < b]
