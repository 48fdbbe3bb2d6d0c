"""Every row of the benchmark can be measured, at the smallest scale."""

import json
import math

import pytest

from benchmarks import report, threads
from benchmarks.bench import SMALLEST, Bench, Skipped
from benchmarks.measure import Measured, measure
from benchmarks.rows import BOARD, ENGINE_ROWS, ROWS, Row

MACHINE = {"cpu": "some", "cores": "2"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    try:
        bench = Bench(tmp_path_factory.mktemp("bench"), SMALLEST)
    except Skipped as why:
        pytest.skip(str(why))
    with bench:
        yield bench


@pytest.mark.parametrize("row", [*ROWS, *ENGINE_ROWS[:2]], ids=lambda row: row.key)
def test_a_row_can_be_measured(bench, row):
    try:
        figures = row.measure(bench)
    except Skipped as why:
        pytest.skip(str(why))
    assert BOARD in figures
    assert (len(figures) == 1) == (row.against == "absolute")
    assert all(math.isfinite(figure) and figure > 0 for figure in figures.values())


def test_rows_have_keys_of_their_own():
    rows = [*ROWS, *ENGINE_ROWS]
    assert len({row.key for row in rows}) == len(rows)


def row(*, reach: float, at_most: bool = False, against: str = "another") -> Row:
    return Row("key", "some work", against, "calls/s", reach, lambda _: {}, at_most=at_most)


def test_the_median_of_the_ratios_decides():
    repeats = [
        {BOARD: 1.0, "another": 2.0},
        {BOARD: 3.0, "another": 3.0},
        {BOARD: 9.0, "another": 1.0},
    ]
    assert Measured(row(reach=1.0), repeats).reached
    assert not Measured(row(reach=1.1), repeats).reached
    assert Measured(row(reach=1.0, at_most=True), repeats).reached
    assert not Measured(row(reach=0.9, at_most=True), repeats).reached


def test_without_a_reference_the_figure_itself_decides():
    repeats = [{BOARD: 4.0}, {BOARD: 5.0}, {BOARD: 6.0}]
    assert Measured(row(reach=5.0, at_most=True, against="absolute"), repeats).reached
    assert not Measured(row(reach=4.9, at_most=True, against="absolute"), repeats).reached


def test_a_row_that_cannot_be_measured_is_in_the_table_with_the_reason(tmp_path):
    def without_etcd(_bench):
        raise Skipped("no etcd here")

    rows = [
        Row("good", "good work", "another", "calls/s", 1.0, lambda _: {BOARD: 2.0, "another": 1.0}),
        Row("none", "other work", "etcd", "calls/s", 1.0, without_etcd),
    ]
    measured = measure(None, rows, 2, lambda _: None)
    report.write(tmp_path, measured, MACHINE)
    page = (tmp_path / "performance.md").read_text()
    assert "| good work | 2 calls/s | another | 1 calls/s | 2.00 | 1 | reached |" in page
    assert "skipped: no etcd here" in page
    good, none = json.loads((tmp_path / "performance.json").read_text())["rows"]
    assert len(good["repeats"]) == 2
    assert none["skipped"] == "no etcd here"


def test_a_new_table_replaces_the_old_one_and_keeps_the_text_around_it(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n{report.BEGIN}\nold\n{report.END}\nAfter\n")
    measured = [Measured(row(reach=1.0), [{BOARD: 2.0, "another": 1.0}])]
    report.write(tmp_path, measured, MACHINE)
    text = page.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\nAfter\n")
    assert "old" not in text
    assert "some work" in text


def test_the_cost_of_a_call_is_reported_for_the_event_loop_and_all_threads(bench):
    loop, every, rate = threads.cost(bench, bench.board, "GetPhaseState", 2)
    assert 0 < loop < every
    assert rate > 0
