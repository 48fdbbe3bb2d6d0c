"""Reread: what files say, read again when they change."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

_Identity = tuple[int, int, int] | None

log = logging.getLogger(__name__)


class BadFile(ValueError):
    """A file that cannot be used. Its text names the file and says what is wrong with it."""


class Reread(Generic[T]):
    """What `read` makes of the files, made anew when one of them has changed.

    Files that cannot be used any more are told to the log, and what they said
    before stands until they are mended.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T], *, every: float = 0.0) -> None:
        """Read the files; look at them again no sooner than `every` seconds after the last look.

        Raises what `read` does: BadFile.
        """
        self._every = every
        self._next = 0.0
        self._paths = [os.fspath(path) for path in paths]
        self._read = read
        # Identities come first: a change while we read is found at the next look.
        self._identities: list[_Identity] | None = self._look()
        self._told = ""
        self._value = read()

    def current(self) -> T:
        """Return what the files say now."""
        now = time.monotonic()
        if now < self._next:
            return self._value
        self._next = now + self._every
        identities = self._look()
        if identities != self._identities:
            self._reread(identities)
        return self._value

    def _reread(self, identities: list[_Identity]) -> None:
        try:
            self._value = self._read()
        except BadFile as error:
            # To be tried at each look: it may be mended without a trace, by a chown for one.
            self._identities = None
            if str(error) != self._told:
                self._told = str(error)
                log.error("%s; what it said before stands", error)  # noqa: TRY400  it says all
        else:
            self._identities, self._told = identities, ""
            log.info("reread %s", ", ".join(self._paths))

    def _look(self) -> list[_Identity]:
        return [_identity(path) for path in self._paths]


def _identity(path: str) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116  on every call's way, and Path is slower
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
