"""EncodedTable: records in order, each encoded once, to be joined into lists."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, Generic, TypeVar

from board_server.store import MAX_PAGE_BYTES
from board_server.wire.responses import MAX_PART

ENCODED_AT_ONCE = 256
"""Records that are encoded together: about half a millisecond of the event loop."""

_OVERHEAD = 150  # bytes of memory that a record takes in addition to its encoded form

R = TypeVar("R")
Key = Any
"""The key of a record, by which a table is ordered."""


class EncodedTable(Generic[R]):
    """Records by key. Each is kept as its length and its bytes: a field without its tag.

    To Protobuf, concatenated fields are one message. So a list is its records, joined by the
    tag of the list's field.
    """

    def __init__(self, key: Callable[[R], Key], encode: Callable[[R], bytes]) -> None:
        self._key = key
        self._encode = encode
        self._entries: dict[Key, bytes] = {}
        self._fresh: dict[Key, R] = {}  # encoded when a read needs them
        self._order: list[Key] | None = []  # None if it has to be sorted
        self._size = 0
        self._version = 0

    @property
    def version(self) -> int:
        """A number that changes with every change."""
        self._encode_fresh()
        return self._version

    @property
    def weight(self) -> int:
        """Bytes of memory: the records, and as much again for a list and for a snapshot."""
        self._encode_fresh()
        return 3 * self._size + _OVERHEAD * len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of all records, encoded."""
        self._encode_fresh()
        return self._size

    def put(self, record: R) -> None:
        """Add a record, or replace the one with the same key."""
        self._fresh[self._key(record)] = record
        if len(self._fresh) >= ENCODED_AT_ONCE:
            self._encode_fresh()

    def put_all(self, records: Iterable[R]) -> None:
        """Put each record."""
        for record in records:
            self.put(record)

    def remove(self, record: R) -> None:
        """Remove the record with this one's key, if there is one."""
        self._encode_fresh()
        self._size -= len(self._entries.pop(self._key(record), b""))
        self._order = None
        self._version += 1

    def page(self, tag: bytes, after: Key | None, size: int) -> tuple[bytes, Key | None]:
        """Join up to `size` records after the key `after`, as fields with this tag.

        Returns also the key after which the next page begins, None on the last page.
        """
        keys = self._keys()
        begin = 0 if after is None else bisect_right(keys, after)
        entries = [self._entries[key] for key in keys[begin : begin + size]]
        if self._size > MAX_PAGE_BYTES:
            fit = bisect_right(list(accumulate(map(len, entries))), MAX_PAGE_BYTES)
            entries = entries[: max(1, fit)]
        end = begin + len(entries)
        return tag.join((b"", *entries)), keys[end - 1] if entries and end < len(keys) else None

    def parts(self, tag: bytes) -> Iterator[bytes]:
        """Join all records in parts of at most MAX_PART bytes, or of one larger record."""
        entries, size = [b""], 0
        for key in self._keys():
            entry = self._entries[key]
            if size and size + len(entry) >= MAX_PART:
                yield tag.join(entries)
                entries, size = [b""], 0
            entries.append(entry)
            size += len(entry) + len(tag)
        if size:
            yield tag.join(entries)

    def _keys(self) -> list[Key]:
        self._encode_fresh()
        if self._order is None:
            self._order = sorted(self._entries)  # fast, because it is nearly sorted
        return self._order

    def _encode_fresh(self) -> None:
        """Encode the records that have changed."""
        if not self._fresh:
            return
        for key, record in self._fresh.items():
            entry = self._encode(record)
            before = self._entries.get(key)
            if before is None:
                self._append(key)
            self._size += len(entry) - len(before or b"")
            self._entries[key] = entry
        self._fresh.clear()
        self._version += 1

    def _append(self, key: Key) -> None:
        if self._order and key < self._order[-1]:
            self._order = None
        elif self._order is not None:
            self._order.append(key)
