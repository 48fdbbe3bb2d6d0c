"""Go through the rows, repeat after repeat, and draw the figures together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.bench import Bench, Skipped
from benchmarks.rows import BOARD, Figures, Row


@dataclass
class Measured:
    """A row with its figures, one of each contender for each repeat."""

    row: Row
    repeats: list[Figures] = field(default_factory=list)
    skipped: str = ""

    @property
    def other(self) -> str | None:
        """The contender that the board is compared with."""
        return next((name for name in self.repeats[0] if name != BOARD), None)

    def figure(self, contender: str) -> float:
        """Return the median of a contender's figures."""
        return median(figures[contender] for figures in self.repeats)

    @property
    def ratios(self) -> list[float]:
        """The board's figure by the other's in each repeat; where there is no other, itself."""
        if self.other is None:
            return [figures[BOARD] for figures in self.repeats]
        return [figures[BOARD] / figures[self.other] for figures in self.repeats]

    @property
    def reached(self) -> bool:
        """Whether the median of the ratios is what it is to be."""
        got, wanted = median(self.ratios), self.row.reach
        return got <= wanted if self.row.at_most else got >= wanted


def measure(
    bench: Bench, rows: Sequence[Row], repeats: int, tell: Callable[[str], None]
) -> list[Measured]:
    """Measure the rows; `tell` hears of each step before it is taken."""
    measured = [Measured(row) for row in rows]
    for repeat in range(repeats):
        for each in measured:
            if each.skipped or (repeat and not each.row.repeats):
                continue
            tell(f"{repeat + 1}/{repeats} {each.row.work}")
            try:
                each.repeats.append(each.row.measure(bench))
            except Skipped as why:
                each.skipped = str(why)
    return measured
