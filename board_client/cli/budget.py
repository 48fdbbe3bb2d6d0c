"""A text that is shortened to a budget: what is left out first, and what is said of it.

The text is put together from fragments. Each belongs to a kind of part, and
with others of its group to one part; parts are left out whole, kind by kind,
of each kind the longest first.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from board_client.cli.output import plural

BYTES_PER_TOKEN = 4


class Part(IntEnum):
    """What can be left out, in that order. What is KEPT stays."""

    SIGNATURE = 0
    CONTRACTS = 1
    PACKAGES = 2
    CONTRADICTIONS = 3
    PHASES = 4
    FILES = 5
    KEPT = 6


_TOLD: dict[Part, Callable[[int], str]] = {
    Part.SIGNATURE: lambda count: plural(count, "signature"),
    Part.CONTRACTS: lambda count: f"the contracts of {plural(count, 'package')}",
    Part.PACKAGES: lambda _: "the packages",
    Part.CONTRADICTIONS: lambda _: "the contradictions",
    Part.PHASES: lambda count: f"the phases in {plural(count, 'state')}",
    Part.FILES: lambda count: f"{plural(count, 'list')} of files",
}


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of the text. Those of one part and group are left out together."""

    text: str
    part: Part = Part.KEPT
    group: tuple[str, ...] = ()


class BudgetTooSmallError(Exception):
    """Even the shortest form is longer; it takes `needed` tokens."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"the shortest form takes {needed} tokens")
        self.needed = needed


def tokens(size: int) -> int:
    """Return how many tokens so many bytes take: an estimate, 4 bytes each, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


def shortened(fragments: Sequence[Fragment], budget: int | None) -> str:
    """Return the text, in at most `budget` tokens; what was left out is told at its end.

    Raises BudgetTooSmallError.
    """
    sizes: dict[tuple[Part, tuple[str, ...]], int] = defaultdict(int)
    for fragment in fragments:
        sizes[fragment.part, fragment.group] += len(fragment.text.encode())
    size = sum(sizes.values())
    if budget is None or tokens(size) <= budget:
        return "".join(fragment.text for fragment in fragments)
    steps = sorted(
        (key for key in sizes if key[0] is not Part.KEPT),
        key=lambda key: (key[0], -sizes[key], key[1]),
    )
    left_out: Counter[Part] = Counter()
    needed = tokens(size)
    for count, step in enumerate(steps, start=1):
        size -= sizes[step]
        left_out[step[0]] += 1
        note = _note(left_out)
        needed = min(needed, tokens(size + len(note)))
        if needed <= budget:
            gone = set(steps[:count])
            kept = (f.text for f in fragments if (f.part, f.group) not in gone)
            return "".join(kept) + note
    raise BudgetTooSmallError(needed)


def _note(left_out: Counter[Part]) -> str:
    """Return the last paragraph, in ASCII."""
    told = ", ".join(_TOLD[part](count) for part, count in sorted(left_out.items()))
    return f"\nLeft out for brevity: {told}.\n"
