"""TOML within a file, and the lines of that file on which its keys stand."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from board_client.cli.failure import BadInput, Problem


class TomlLines:
    """Some lines of a file that are TOML. `values` is what they say.

    tomllib tells no positions, so they are found by parsing the first line,
    the first two, and so on: a statement ends with the line that makes all so
    far parse, and begins after the end of the last one.
    """

    def __init__(self, path: Path, lines: Sequence[str], *, above: int) -> None:
        """Parse the lines, which have `above` others above them. Raises BadInput."""
        self.path = path
        self._lines = lines
        self._above = above
        try:
            self.values = self._parse(len(lines))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            last = max((last for _, last, _ in self._statements()), default=above)
            raise BadInput([Problem(path, last + 1, str(error))]) from error

    def line_of(self, *keys: str) -> int:
        """Return the line that begins the statement that sets `keys`, a path into tables.

        Lines count from 1 at the file's beginning; 0 where no statement does.
        """
        for first, _, values in self._statements():
            found: Any = values
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
            if found is not None:
                return first
        return 0

    def _statements(self) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
        """Yield each statement's first and last line, and all that is set by then."""
        done = 0
        for end in range(1, len(self._lines) + 1):
            try:
                values = self._parse(end)
            except (tomllib.TOMLDecodeError, RecursionError):
                continue
            yield self._above + done + 1, self._above + end, values
            done = end

    def _parse(self, end: int) -> Mapping[str, Any]:
        # Below as many line breaks, the parser's messages count lines as the file does.
        return tomllib.loads("\n" * self._above + "\n".join(self._lines[:end]))
