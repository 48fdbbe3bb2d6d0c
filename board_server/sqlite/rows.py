"""Decode rows of a board file, which a disk or another program may have damaged.

Decoders raise Damaged, and nothing else, for a row that no server has written. It derives from
SQLite's errors, so that it is handled with them.
"""

import json
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

import apsw

Row = tuple[Any, ...]
E = TypeVar("E", bound=StrEnum)


class Damaged(apsw.Error):
    """A row that no server has written. Its text says what is wrong."""


@contextmanager
def reading() -> Iterator[None]:
    """Raise Damaged for text that is not UTF-8, and for a missing row, in a `with` block.

    Also a decorator.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise Damaged(f"text that is not UTF-8: {shortened(error.object)}") from error
    except StopIteration as error:
        raise Damaged("a row is missing") from error


class Columns:
    """The columns of a record, with the type of each."""

    def __init__(self, **types: type) -> None:
        self._names = tuple(types)
        self._types = tuple(types.values())

    def check(self, row: Row) -> Row:
        """Return the row if its columns have their types. Raises Damaged."""
        if tuple(map(type, row)) != self._types:
            raise Damaged(self._fault(row))
        return row

    def _fault(self, row: Row) -> str:
        if len(row) != len(self._types):
            return f"{len(row)} values, not {len(self._types)}: {shortened(row)}"
        name, value = next(
            (name, value)
            for name, kind, value in zip(self._names, self._types, row, strict=True)
            if type(value) is not kind
        )
        return f"its {name} is {shortened(value)}"


def enum_member(kind: type[E], value: Any) -> E:
    """Decode a member of an enum. Raises Damaged."""
    try:
        return kind(value)
    except ValueError as error:
        raise Damaged(f"{shortened(value)} is not in {kind.__name__}") from error


def array(text: Any) -> Row:
    """Decode a JSON array, the form of events and replies. Raises Damaged."""
    try:
        values = json.loads(text)
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode()  # refuses half of a surrogate pair
    except (TypeError, ValueError, RecursionError) as error:
        raise Damaged(f"not JSON: {shortened(text)} ({error})") from error
    if not isinstance(values, list):
        raise Damaged(f"not an array: {shortened(text)}")
    return tuple(values)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80

shortened: Callable[[object], str] = _SHORT.repr
"""Format a value for an operator, shortened to fit a line."""
