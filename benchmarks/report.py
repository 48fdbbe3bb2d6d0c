"""Reports the figures: a table for the terminal, Markdown and JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks.measure import Measured
from benchmarks.rows import BOARD

HEADINGS = ("work", "board", "against", "its figure", "ratio", "goal", "")

BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def table(measured: Sequence[Measured], machine: Mapping[str, str]) -> Table:
    """Return the table for the terminal."""
    made = Table(*HEADINGS, title=_head(machine), title_justify="left")
    for cells in map(_cells, measured):
        made.add_row(*cells)
    return made


def markdown(measured: Sequence[Measured], machine: Mapping[str, str]) -> str:
    """Return the table for docs/performance.md."""
    lines = [HEADINGS, ("---", "--:", "---", "--:", "--:", "--:", "---"), *map(_cells, measured)]
    return "\n".join([_head(machine), "", *("| " + " | ".join(line) + " |" for line in lines)])


def as_json(measured: Sequence[Measured], machine: Mapping[str, str]) -> str:
    """Return all figures of all repeats."""
    rows: list[dict[str, Any]] = [
        {
            "key": each.row.key,
            "work": each.row.work,
            "against": each.row.against,
            "unit": each.row.unit,
            "reach": each.row.reach,
            "at_most": each.row.at_most,
            **(
                {"skipped": each.skipped}
                if each.skipped
                else {
                    "ratio": median(each.ratios),
                    "reached": each.reached,
                    "repeats": each.repeats,
                }
            ),
        }
        for each in measured
    ]
    return json.dumps({"machine": dict(machine), "rows": rows}, indent=2) + "\n"


def write(directory: Path, measured: Sequence[Measured], machine: Mapping[str, str]) -> None:
    """Write the JSON, and replace the table in performance.md."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "performance.json").write_text(as_json(measured, machine))
    page = directory / "performance.md"
    text = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(measured, machine)}\n{END}{after}")


def _head(machine: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _cells(each: Measured) -> tuple[str, ...]:
    row = each.row
    if each.skipped:
        return (row.work, "", row.against, "", "", _reach(each), f"skipped: {each.skipped}")
    other = each.other
    return (
        row.work,
        f"{_number(each.figure(BOARD))} {row.unit}",
        row.against,
        f"{_number(each.figure(other))} {row.unit}" if other else "",
        f"{median(each.ratios):.2f}" if other else "",
        _reach(each),
        "reached" if each.reached else "not reached",
    )


def _reach(each: Measured) -> str:
    absolute = each.row.against == "absolute"
    most = "at most " if each.row.at_most else ""
    return f"{most}{each.row.reach:g}" + (f" {each.row.unit}" if absolute else "")


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"  # noqa: PLR2004  three digits
