"""EncodedTable: records in their order, encoded once each, to be joined into lists."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, Generic, TypeVar

from board_server.store import MAX_PAGE_BYTES
from board_server.wire.responses import MAX_PART

ENCODED_AT_ONCE = 256
"""Records that are encoded in one go: some half a millisecond of the event loop's time."""

_BESIDE = 150  # bytes of memory that a record takes beside its encoded form

R = TypeVar("R")
Key = Any
"""What a table is ordered by."""


class EncodedTable(Generic[R]):
    """Records by key. Each is kept as a length and so many bytes: a field without its tag.

    Protobuf takes fields that stand one behind the other for one message, so
    that a list is its records, joined by the tag of the list's field.
    """

    def __init__(self, key: Callable[[R], Key], encode: Callable[[R], bytes]) -> None:
        self._key = key
        self._encode = encode
        self._entries: dict[Key, bytes] = {}
        self._fresh: dict[Key, R] = {}  # not encoded before they are asked for
        self._order: list[Key] | None = []  # None where it has to be sorted
        self._size = 0
        self._version = 0

    @property
    def version(self) -> int:
        """A number that is another one after each change."""
        self._settle()
        return self._version

    @property
    def weight(self) -> int:
        """Bytes of memory: the records, and as much for a list and for a snapshot of them."""
        self._settle()
        return 3 * self._size + _BESIDE * len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of all records, encoded."""
        self._settle()
        return self._size

    def put(self, record: R) -> None:
        """Take a record in place of the one with its key, or as a new one."""
        self._fresh[self._key(record)] = record
        if len(self._fresh) >= ENCODED_AT_ONCE:
            self._settle()

    def put_all(self, records: Iterable[R]) -> None:
        """Take several records."""
        for record in records:
            self.put(record)

    def remove(self, record: R) -> None:
        """Take the record of this one's key away, if there is one."""
        self._settle()
        self._size -= len(self._entries.pop(self._key(record), b""))
        self._order = None
        self._version += 1

    def page(self, tag: bytes, after: Key | None, size: int) -> tuple[bytes, Key | None]:
        """Join up to `size` records behind the key `after`, as a field of this tag.

        Returns with it the key to go on from, None at the end.
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
        """Join all records in parts, none over MAX_PART unless a single record is."""
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
        self._settle()
        if self._order is None:
            self._order = sorted(self._entries)  # nearly sorted already, which is quick
        return self._order

    def _settle(self) -> None:
        """Encode what has changed."""
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
