"""`make bench`: measure every row, print the table, and update docs/performance.md."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import machine, report
from benchmarks.bench import FULL, QUICK, Bench, Skipped
from benchmarks.measure import measure
from benchmarks.rows import ENGINE_ROWS, ROWS

console = Console()


def main(
    only: Annotated[
        list[str] | None, typer.Argument(help="Keys of the rows to measure; all by default.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A short run: small boards, one repeat.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="How many times to measure each row.")] = 5,
    engine: Annotated[bool, typer.Option(help="Compare gRPC's engines instead.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write JSON, Markdown and SVG to.")
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Directory for the servers' files; on a disk, not in memory."),
    ] = None,
) -> None:
    """Measure the board against a bare echo and etcd, interleaved, and print the table."""
    chosen = ENGINE_ROWS if engine else ROWS
    rows = [row for row in chosen if not only or row.key in only]
    described = machine.describe()
    with (
        tempfile.TemporaryDirectory(dir=scratch) as directory,
        console.status("building the load generator") as status,
    ):
        try:
            bench = Bench(Path(directory), QUICK if quick else FULL)
        except Skipped as why:
            console.print(f"no benchmarks: {why}")
            raise typer.Exit(1) from why
        with bench:
            measured = measure(bench, rows, 1 if quick else repeats, status.update)
    console.print(report.table(measured, described))
    if out:
        from benchmarks import plots  # noqa: PLC0415  needs the extra "bench"; a short run does not

        report.write(out, measured, described)
        plots.draw(out, [each for each in measured if each.repeats])
        console.print(f"written: {out}/performance.json, performance.md, performance.svg")


if __name__ == "__main__":
    typer.run(main)
