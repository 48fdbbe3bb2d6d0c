"""Parse TOML within a file, and find the lines of its keys."""

import re
import sys
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from board_client.cli.failure import BadInput, Problem

# Strings and comments, whose brackets and line breaks do not count, and those that count.
_TOKEN = re.compile(
    r'''"""(?:\\.|[^\\])*?"""+|\'\'\'.*?\'\'\'+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|[][{}\n]''',
    re.DOTALL,
)


class TomlLines:
    """Some lines of a file that are TOML. `values` are the parsed values.

    tomllib gives no positions. A statement ends with a line break outside of brackets and
    strings. The statement that sets a key, or is wrong, is found by bisection: parsing the
    first half of the statements, then half of one half, and so on.
    """

    def __init__(self, path: Path, lines: Sequence[str], *, above: int) -> None:
        """Parse the lines, which have `above` others above them. Raises BadInput."""
        self.path = path
        self._lines = lines
        self._above = above
        self._begins = _statements(lines)
        try:
            self.values = self._parse(len(self._begins))
        except (ValueError, RecursionError) as error:
            line = self._first(self._fails)
            raise BadInput([Problem(path, line, _what_is_wrong(error))]) from error

    def line_of(self, *keys: str) -> int:
        """Return the first line of the statement that sets `keys`, a path into tables.

        Lines count from 1 at the file's beginning; 0 means that no statement does.
        """
        return self._first(lambda count: _at(self._parse(count), keys) is not None)

    def _first(self, holds: Callable[[int], bool]) -> int:
        """Return the line of the first statement for which `holds`; 0 if there is none.

        `holds` gets a number of statements: the statement and those before it.
        """
        counts = range(len(self._begins) + 1)
        count = bisect_left(counts, True, lo=1, key=holds)
        return self._above + self._begins[count - 1] + 1 if count < len(counts) else 0

    def _fails(self, count: int) -> bool:
        try:
            self._parse(count)
        except (ValueError, RecursionError):
            return True
        return False

    def _parse(self, count: int) -> Mapping[str, Any]:
        """Parse the first `count` statements."""
        end = self._begins[count] if count < len(self._begins) else len(self._lines)
        # The line breaks make the line numbers in the parser's messages those of the file.
        return tomllib.loads("\n" * self._above + "\n".join(self._lines[:end]))


def _statements(lines: Sequence[str]) -> list[int]:
    """Return the index of the first line of each statement; an empty line is a statement."""
    begins, line, depth = [0], 0, 0
    for piece in _TOKEN.findall("\n".join(lines)):
        line += piece.count("\n")
        if piece in {"[", "{"}:
            depth += 1
        elif piece in {"]", "}"}:
            depth -= 1
        elif piece == "\n" and depth <= 0:
            begins.append(line)
            depth = 0
    return begins


def _at(values: Mapping[str, Any], keys: Sequence[str]) -> object:
    found: Any = values
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _what_is_wrong(error: ValueError | RecursionError) -> str:
    match error:
        case tomllib.TOMLDecodeError():
            return str(error)
        case RecursionError():
            return "brackets are nested too deep"
        case _:
            return f"an integer has more than {sys.get_int_max_str_digits():,} digits"
