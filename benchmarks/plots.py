"""The plots of docs/performance.md, as SVG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.measure import Measured
from benchmarks.rows import BOARD

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "board"  # the same figures make the same file
mpl.rcParams["svg.fonttype"] = "none"

GOOD, BAD, OTHER, LINE = "#2a7f62", "#c8553d", "#9aa5b1", "#555555"


def draw(directory: Path, measured: Sequence[Measured]) -> None:
    """Draw how close each row is to its goal, and the figures of each contender."""
    shares(directory / "performance.svg", measured)
    figures(directory / "performance-figures.svg", [each for each in measured if each.other])


def shares(file: Path, measured: Sequence[Measured]) -> None:
    """Draw every repeat of every row, as a multiple of its goal."""
    figure, axes = _rows(measured)
    for place, each in enumerate(measured):
        reach = each.row.reach
        got = [reach / ratio if each.row.at_most else ratio / reach for ratio in each.ratios]
        colour = GOOD if each.reached else BAD
        axes.scatter(got, [place] * len(got), color=colour, s=14, alpha=0.7, linewidths=0)
    axes.axvline(1.0, color=LINE, linewidth=1)
    axes.set_xlabel("multiple of the goal, one dot per repeat; right of the line is better")
    _save(figure, file)


def figures(file: Path, measured: Sequence[Measured]) -> None:
    """Draw every repeat of the board and of its contender, each in the row's unit."""
    figure, axes = _rows(measured)
    for place, each in enumerate(measured):
        for contender, colour, above in ((BOARD, GOOD, -0.12), (each.other, OTHER, 0.12)):
            values = [repeat[contender] for repeat in each.repeats if contender]
            places = [place + above] * len(values)
            axes.scatter(values, places, color=colour, s=14, alpha=0.8, linewidths=0)
    axes.set_xlabel("green: the board; grey: what it is compared with; units as in the table")
    _save(figure, file)


def _rows(measured: Sequence[Measured]) -> tuple[plt.Figure, Axes]:
    figure, axes = plt.subplots(figsize=(10, 0.42 * len(measured) + 1.2))
    axes.set_xscale("log")
    axes.set_yticks(range(len(measured)), [each.row.work for each in measured])
    axes.invert_yaxis()
    axes.grid(axis="x", which="both", linewidth=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure, axes


def _save(figure: plt.Figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
