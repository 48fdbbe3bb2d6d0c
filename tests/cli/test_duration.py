"""Durations as people write them."""

from contextlib import suppress
from datetime import timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from board_client.cli.duration import duration, written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("5", 5),
        (".5", 0.5),
    ],
)
def test_a_duration_is_read(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "m", "-5s", "5 s", "5d", "0s", "1e3s", "٣s", "5s\n", "nan", "9" * 400 + "h"]
)
def test_a_text_that_is_not_a_duration_above_0_is_refused(text):
    with pytest.raises(typer.BadParameter):
        duration(text)


@given(st.integers(min_value=1, max_value=10**8))
def test_a_printed_duration_is_read_back_in_its_two_largest_units(seconds):
    read = duration(written(timedelta(seconds=seconds)))
    assert 0 <= seconds - read.total_seconds() < (60 if seconds >= 3600 else 1)
    assert written(read) == written(timedelta(seconds=seconds))


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(typer.BadParameter):
        assert duration(text) > timedelta()
