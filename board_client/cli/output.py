"""What commands print on standard output: tables for people, JSON for programs.

Into a pipe or a file, a table is a line for each row, its cells separated by
tabs, without header, and never cut.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from board_client.cli.failure import Failure
from board_client.cli.visible import visible

STYLES = {
    "queued": "dim",
    "running": "cyan",
    "polling": "cyan",
    "done": "green",
    "failed": "red",
    "blocked": "yellow",
    "human_decision": "yellow",
    "disputed": "yellow",
}
"""How the words of the board look in a terminal."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. In a terminal, cells are folded to fit, or `cut` to a third of it."""

    header: str
    cut: bool = False
    right: bool = False


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print JSON in ASCII; times are RFC 3339 in UTC, spans are seconds."""
    print_line(json.dumps(value, indent=indent, default=_plain))


def print_line(text: str) -> None:
    """Print a line at once. Raises Failure where the disk under it is full."""
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        raise  # a reader that has enough, such as head, is no failure to tell of
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror}") from error


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows for people, in the order given."""
    shown = [[visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, shown)
    elif shown:
        print_line("\n".join("\t".join(row) for row in shown))


def print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    """Print one row of a table that has no end; in a terminal, with cells at least so wide."""
    shown = [visible(cell) for cell in cells]
    if sys.stdout.isatty():
        print_line("  ".join(map(str.ljust, shown, widths)))
    else:
        print_line("\t".join(shown))


def _print_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  only terminals pay for its import
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.header,
            justify="right" if column.right else "left",
            overflow="ellipsis" if column.cut else "fold",
            no_wrap=column.cut,
            max_width=console.width // 3 if column.cut else None,
        )
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console.print(table)


def plural(count: int, noun: str) -> str:
    """Return the count with its noun: 1 phase, 1,040 contracts."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def rfc3339(time: datetime) -> str:
    """Return a UTC time to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(since: datetime, now: datetime) -> str:
    """Return how long ago something was, in its largest whole unit: 5s, 12m, 3h, 8d."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _plain(value: Any) -> str | float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
