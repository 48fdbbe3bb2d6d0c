"""What commands print on standard output: tables for people, JSON for programs.

In a pipe or a file, a table has a line for each row, cells separated by tabs, no
header, and no cell is cut.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
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
"""Styles of the board's words in a terminal."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. In a terminal its cells end with an ellipsis where they do not fit.

    One that is `cut` takes at most a third of the width.
    """

    header: str
    cut: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns, in the order given."""

    columns: Sequence[Column]
    rows: Iterable[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: `record` for programs, `text` for people, and the exit code.

    In `record`, dataclasses become objects, times RFC 3339 in UTC and spans seconds.
    """

    record: object
    text: str | Table | list[str | Table]
    code: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """A result without an end: records with their cells, which are at least `widths` wide."""

    items: Iterable[tuple[object, Sequence[str]]]
    widths: Sequence[int]


def show(answer: Answer | Stream, *, json: bool) -> None:
    """Print the result of a command: the only place that chooses between text and JSON."""
    match answer:
        case Stream(items, widths):
            for record, cells in items:
                if json:
                    print_json(record, indent=None)
                else:
                    _print_row(cells, widths)
        case Answer(record) if json:
            print_json(record)
        case Answer(_, text):
            for part in text if isinstance(text, list) else [text]:
                _print(part)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print JSON in ASCII, as `Answer` describes it."""
    print_line(json.dumps(value, indent=indent, default=_plain))


def print_line(text: str) -> None:
    """Print a line at once. Raises BrokenPipeError, and Failure where the disk is full."""
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror}") from error


def _print(part: str | Table) -> None:
    if isinstance(part, str):
        print_line(part)
        return
    shown = [[visible(cell) for cell in row] for row in part.rows]
    if sys.stdout.isatty():
        _print_rich(part.columns, shown)
    elif shown:
        print_line("\n".join("\t".join(row) for row in shown))


def _print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    shown = [visible(cell) for cell in cells]
    if sys.stdout.isatty():
        print_line("  ".join(map(str.ljust, shown, widths)))
    else:
        print_line("\t".join(shown))


def _print_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  only terminals pay for its import
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.header,
            justify="right" if column.right else "left",
            max_width=console.width // 3 if column.cut else None,
        )
    for row in rows:
        # no_wrap is set on cells and not on columns: rich then narrows only the widest columns.
        table.add_row(
            *(
                Text(cell, style=STYLES.get(cell, ""), no_wrap=True, overflow="ellipsis")
                for cell in row
            )
        )
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


def fields_of(record: Any) -> dict[str, object]:
    """Return the fields of a dataclass by name, as they are."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _plain(value: Any) -> object:
    if is_dataclass(value):
        return fields_of(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
