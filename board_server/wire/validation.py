"""Check the fields of a request, and name each one that breaks its limits."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from board_server.errors import InvalidArgument, Violation
from board_server.model import is_board_name

T = TypeVar("T")

MAX_ID = 256
MAX_PATH = 4096
MAX_NAME = 4096
MAX_PACKAGE = 1024
MAX_SIGNATURE = 2**20
MAX_ITEMS = 10_000
MAX_BATCH_BYTES = 32 * 2**20
MAX_VIOLATIONS = 8
"""Most fields that one error names; an error must fit the headers."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Fields:
    """Collects what is wrong with a request's fields; `done` raises if anything is.

    Each check returns its value, so that it can be used in place of the value. Limits are in
    bytes of UTF-8.
    """

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._item: tuple[str, int] | None = None

    def items(self, field: str, values: Iterable[T]) -> Iterator[T]:
        """Iterate over a repeated field. Meanwhile the checks are of fields of the current item."""
        for index, value in enumerate(values):
            self._item = field, index
            yield value
        self._item = None

    def refuse(self, field: str, description: str) -> None:
        """Add a violation. `description` follows the name of the field: `must not be empty`."""
        if self._item:
            parent, index = self._item
            field = f"{parent}[{index}].{field}"
        self._violations.append(Violation(field, description))

    def done(self) -> None:
        """Raise InvalidArgument if any check failed."""
        if self._violations:
            raise InvalidArgument(self._violations[:MAX_VIOLATIONS])

    def board(self, name: str) -> str:
        """Check a board's name; empty is the default board."""
        if name and not is_board_name(name):
            self.refuse(
                "board",
                "must be 1 to 128 letters, digits, dots, underscores or hyphens, "
                "and begin with a letter or digit",
            )
        return name

    def identifier(self, field: str, value: str, *, may_be_empty: bool = False) -> str:
        """Check a phase ID, an owner, a producer or a worker."""
        if not value.isprintable() and _CONTROL.search(value):
            self.refuse(field, "must not hold control characters")
        return self.text(field, value, MAX_ID, may_be_empty=may_be_empty)

    def path(self, field: str, value: str) -> str:
        """Check a file's path."""
        if "\0" in value:
            self.refuse(field, "must not hold NUL characters")
        return self.text(field, value, MAX_PATH)

    def text(self, field: str, value: str, limit: int, *, may_be_empty: bool = False) -> str:
        """Check a text's length."""
        if not value and not may_be_empty:
            self.refuse(field, "must not be empty")
        elif len(value) > limit or (not value.isascii() and len(value.encode()) > limit):
            self.refuse(field, f"must not be longer than {limit:,} bytes")
        return value

    def word(self, field: str, number: int, words: Mapping[int, T], *, instead: T) -> T:
        """Turn an enum's number into its word; refuse one without a word, and return `instead`."""
        if number not in words:
            self.refuse(field, f"must be one of the defined values, not {number}")
        return words.get(number, instead)

    def batch(self, field: str, items: int, size: int = 0) -> None:
        """Check how many items a batch has, and how many bytes."""
        if items > MAX_ITEMS:
            self.refuse(field, f"must not hold more than {MAX_ITEMS:,} items")
        if size > MAX_BATCH_BYTES:
            self.refuse(field, f"must not be larger than {MAX_BATCH_BYTES:,} bytes")
