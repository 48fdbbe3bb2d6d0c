"""The plots of docs/performance.md: how far above or below its goal each row is."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.measure import Measured

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "board"  # the same figures make the same file

GOOD, BAD, LINE = "#2a7f62", "#c8553d", "#555555"


def draw(directory: Path, measured: Sequence[Measured]) -> None:
    """Draw every repeat of every row, as a share of what it is to reach."""
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(measured) + 1.2))
    for place, each in enumerate(reversed(measured)):
        reach = each.row.reach
        shares = [reach / ratio if each.row.at_most else ratio / reach for ratio in each.ratios]
        colour = GOOD if each.reached else BAD
        axes.scatter(shares, [place] * len(shares), color=colour, s=14, alpha=0.7, linewidths=0)
    axes.axvline(1.0, color=LINE, linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(measured)), [each.row.work for each in reversed(measured)])
    axes.set_xlabel("times the number to reach, one dot a repeat; right of the line is better")
    axes.grid(axis="x", which="both", linewidth=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(directory / "performance.svg", metadata={"Date": None})
    plt.close(figure)
