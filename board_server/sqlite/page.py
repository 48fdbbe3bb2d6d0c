"""Take a page from an ordered query."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from board_server.model import PageRequest
from board_server.sqlite.rows import Row
from board_server.store import MAX_PAGE_BYTES

T = TypeVar("T")


def take_page(
    rows: Iterator[Row], page: PageRequest, read: Callable[[Row], T]
) -> tuple[list[T], bool]:
    """Decode with `read` the rows that fit the page; return them, and whether more follow."""
    items: list[T] = []
    room = MAX_PAGE_BYTES
    for row in rows:
        room -= sum(utf8_length(value) for value in row if isinstance(value, str))
        if len(items) == page.size or (items and room < 0):
            return items, True
        items.append(read(row))
    return items, False


def utf8_length(text: str) -> int:
    """Return the bytes of a text in UTF-8, without encoding it if it is ASCII."""
    return len(text) if text.isascii() else len(text.encode())
