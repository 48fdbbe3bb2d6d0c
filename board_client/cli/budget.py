"""Shorten a text to a budget: choose its items by rank, and count what is left out.

The text consists of sections of lists. If it is too long, it starts as the headings
alone, and is filled with items, rank by rank, as long as they fit.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from board_client.cli.output import plural

BYTES_PER_TOKEN = 4

_MOST_SAVED = 200
"""An upper bound of the bytes that showing one more item saves in the notes."""


class Rank(IntEnum):
    """Order in which items are shown. FIRST is for those that the reader needs most."""

    FIRST = 0
    CONTRADICTION = 1
    FILE = 2
    PHASE = 3
    CONTRACT = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a list, without its line break; `detail` follows it if there is room for it."""

    text: str
    rank: Rank
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list with its heading. An `optional` list of which no item is shown is left out."""

    heading: str
    items: Sequence[Item]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Lists of items, each a `noun`, under a heading that is always shown.

    An optional list is a `list_noun`.
    """

    heading: str
    noun: str
    lists: Sequence[Listing]
    list_noun: str = "list"


class BudgetTooSmallError(Exception):
    """The budget is too small even for the shortest form, which takes `needed` tokens."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"the shortest form takes {needed} tokens")
        self.needed = needed


def tokens(size: int) -> int:
    """Return the estimated tokens of a number of bytes: 4 bytes each, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


def shortened(title: str, sections: Sequence[Section], budget: int | None) -> str:
    """Return the text in at most `budget` tokens; its last line counts what is left out.

    Raises BudgetTooSmallError.
    """
    whole = _Page(title, sections)
    whole.fill(sys.maxsize)
    if budget is None or tokens(whole.size) <= budget:
        return whole.text()
    page = _Page(title, sections)
    if tokens(page.size) > budget:
        raise BudgetTooSmallError(tokens(min(page.size, whole.size)))
    page.fill(budget * BYTES_PER_TOKEN)
    return page.text()


@dataclass(slots=True)
class _Left:
    """Counts of what a section does not show: items, details of shown items, whole lists."""

    section: Section
    items: int
    lists: int
    details: int = 0

    def note(self) -> str:
        """Return the line that counts lists; if none is shown, the section's heading does."""
        if self.lists in {0, len(self.section.lists)}:
            return ""
        return f"\nAnd {self.lists:,} more {self.section.list_noun}{'s' * (self.lists > 1)}.\n"


class _List:
    """A list, and its items that are shown, by index, each with whether its detail is too."""

    def __init__(self, listing: Listing, left: _Left) -> None:
        self.listing = listing
        self.left = left
        self.shown: dict[int, bool] = {}
        self._bytes_of_items = 0
        self._bytes_of_heading = len(listing.heading.encode())

    @property
    def size(self) -> int:
        """Size of its text in bytes."""
        if not self.shown:
            return 0 if self.listing.optional else self._bytes_of_heading
        return self._bytes_of_heading + 1 + self._bytes_of_items + len(self._more())

    def text(self) -> str:
        if not self.shown:
            return "" if self.listing.optional else self.listing.heading
        items = (
            f"{item.text}{item.detail * self.shown[index]}\n"
            for index, item in enumerate(self.listing.items)
            if index in self.shown
        )
        return "".join((self.listing.heading, "\n", *items, self._more()))

    def set(self, index: int, shown: bool | None) -> None:
        """Show an item with its detail (True) or without it (False), or not at all (None)."""
        self._count(index, -1)
        if shown is None:
            del self.shown[index]
        else:
            self.shown[index] = shown
        self._count(index, 1)

    def _count(self, index: int, sign: int) -> None:
        """Add an item, as it is shown now, to the counts; with a sign of -1, subtract it."""
        item, shown = self.listing.items[index], self.shown.get(index)
        if shown is None:
            return
        self.left.items -= sign
        self.left.details += sign * (not shown and bool(item.detail))
        self.left.lists -= sign * (self.listing.optional and len(self.shown) == 1)
        self._bytes_of_items += sign * (
            len(item.text.encode()) + len(item.detail.encode()) * shown + 1
        )

    def _more(self) -> str:
        left = len(self.listing.items) - len(self.shown)
        return f"- and {left:,} more\n" if left else ""


class _Page:
    """The text with some of its items. `size` is that of `text()` in bytes, kept up to date."""

    def __init__(self, title: str, sections: Sequence[Section]) -> None:
        self._title = title
        self._left = [
            _Left(
                section,
                sum(len(listing.items) for listing in section.lists),
                sum(listing.optional for listing in section.lists),
            )
            for section in sections
        ]
        self._lists = [
            [_List(listing, left) for listing in left.section.lists] for left in self._left
        ]
        self.size = len(self.text().encode())

    def text(self) -> str:
        sections = (
            "".join((left.section.heading, *(each.text() for each in lists), left.note()))
            for left, lists in zip(self._left, self._lists, strict=True)
        )
        return "".join((self._title, *sections, self._note()))

    def fill(self, limit: int) -> None:
        """Show as much as fits into `limit` bytes.

        In a first pass, each rank but FIRST takes at most half of the bytes that are left,
        so that every rank is represented; in a second pass, each takes what fits.
        """
        for share in (2, 1):
            for rank in Rank:
                part = 1 if rank is Rank.FIRST else share
                self._show_items(rank, self.size + (limit - self.size) // part)
            self._show_details(self.size + (limit - self.size) // share)

    def _show_items(self, rank: Rank, limit: int) -> None:
        for each in self._each_list():
            for index, item in enumerate(each.listing.items):
                if item.rank is rank and index not in each.shown:
                    with_detail = rank is Rank.FIRST and self._show(each, index, limit, detail=True)
                    if not with_detail:
                        self._show(each, index, limit, detail=False)

    def _show_details(self, limit: int) -> None:
        """Show details of items that are shown, the shortest first."""
        without = [
            (each, index)
            for each in self._each_list()
            for index, detailed in sorted(each.shown.items())
            if not detailed and each.listing.items[index].detail
        ]
        for each, index in sorted(without, key=lambda at: len(at[0].listing.items[at[1]].detail)):
            self._show(each, index, limit, detail=True)

    def _show(self, each: _List, index: int, limit: int, *, detail: bool) -> bool:
        """Show an item if there is room for it; return whether there was."""
        item, before = each.listing.items[index], each.shown.get(index)
        if self.size + len(item.detail if detail else item.text) > limit + _MOST_SAVED:
            return False
        size = self.size - self._size_around(each)
        each.set(index, detail)
        size += self._size_around(each)
        if size > limit:
            each.set(index, before)
            return False
        self.size = size
        return True

    def _each_list(self) -> Iterator[_List]:
        for lists in self._lists:
            yield from lists

    def _size_around(self, each: _List) -> int:
        """Return the size of all that changes with an item of a list."""
        return each.size + len(each.left.note()) + len(self._note())

    def _note(self) -> str:
        """Return the last paragraph, in ASCII."""
        counts: Counter[str] = Counter()
        for left in self._left:
            counts[left.section.noun] += left.items
        counts["signature"] = sum(left.details for left in self._left)
        omitted = ", ".join(plural(count, noun) for noun, count in counts.items() if count)
        return f"\nLeft out for brevity: {omitted}.\n" if omitted else ""
