"""Measures all rows, repeat after repeat, and summarizes the figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.bench import Bench, Skipped
from benchmarks.rows import BOARD, Figures, Row


@dataclass
class Measured:
    """A row and its figures: one per contender and repeat."""

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
        """The board's figure divided by the other's; the figure if there is no other."""
        if self.other is None:
            return [figures[BOARD] for figures in self.repeats]
        return [figures[BOARD] / figures[self.other] for figures in self.repeats]

    @property
    def reached(self) -> bool:
        """Whether the median of the ratios reaches the row's goal."""
        got, wanted = median(self.ratios), self.row.reach
        return got <= wanted if self.row.at_most else got >= wanted


def measure(
    bench: Bench, rows: Sequence[Row], repeats: int, announce: Callable[[str], None]
) -> list[Measured]:
    """Measure the rows; call `announce` with the name of each step before it starts."""
    measured = [Measured(row) for row in rows]
    for repeat in range(repeats):
        for each in measured:
            if each.skipped or (repeat and not each.row.repeats):
                continue
            announce(f"{repeat + 1}/{repeats} {each.row.work}")
            try:
                each.repeats.append(each.row.measure(bench))
            except Skipped as why:
                each.skipped = str(why)
    return measured
