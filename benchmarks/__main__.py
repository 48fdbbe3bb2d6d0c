"""`make bench`: measure every row, print the table, and write what goes with it."""

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
    only: Annotated[list[str] | None, typer.Argument(help="Keys of rows; all by default.")] = None,
    quick: Annotated[bool, typer.Option(help="A smoke run: small, short, once.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="How often each row is measured.")] = 5,
    engine: Annotated[bool, typer.Option(help="Compare gRPC's engines instead.")] = False,
    out: Annotated[Path | None, typer.Option(help="Directory for JSON, Markdown, SVG.")] = None,
    scratch: Annotated[
        Path | None, typer.Option(help="Where the servers keep their files; a disk, not memory.")
    ] = None,
) -> None:
    """Measure the board against a bare echo and etcd, all interleaved, and print the table."""
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
            console.print(f"nothing is measured: {why}")
            raise typer.Exit(1) from why
        with bench:
            measured = measure(bench, rows, 1 if quick else repeats, status.update)
    console.print(report.table(measured, described))
    if out:
        from benchmarks import plots  # noqa: PLC0415  needs the extra "bench", a smoke run does not

        report.write(out, measured, described)
        plots.draw(out, [each for each in measured if each.repeats])
        console.print(f"written: {out}/performance.json, performance.md, performance.svg")


if __name__ == "__main__":
    typer.run(main)
