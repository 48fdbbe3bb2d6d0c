"""Rows as they are read from a board file, which a disk or another program may have damaged.

What reads rows raises Damaged for what no server has written, and nothing else: it is an
error of SQLite's to all who handle those.
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
    """A row that no server has written. Its text says what is wrong with it."""


@contextmanager
def reading() -> Iterator[None]:
    """Raise Damaged for text that is no UTF-8, and for a row that must be there and is not.

    Also a decorator.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise Damaged(f"text that is not UTF-8: {shortened(error.object)}") from error
    except StopIteration as error:
        raise Damaged("a row is missing") from error


class Columns:
    """The columns of a record, with the type that each value has in a sound row."""

    def __init__(self, **types: type) -> None:
        self._names = tuple(types)
        self._types = tuple(types.values())

    def check(self, row: Row) -> Row:
        """Return the row if it is sound."""
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
    """Read one of the words of an enumeration."""
    try:
        return kind(value)
    except ValueError as error:
        raise Damaged(f"{shortened(value)} is no {kind.__name__}") from error


def array(text: Any) -> Row:
    """Read a JSON array, as events and replies are written."""
    try:
        values = json.loads(text)
        if "\\u" in text:
            json.dumps(values, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (TypeError, ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {shortened(text)} ({error})") from error
    if not isinstance(values, list):
        raise Damaged(f"no array: {shortened(text)}")
    return tuple(values)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80

shortened: Callable[[object], str] = _SHORT.repr
"""Write a value for an operator, cut to a line."""
