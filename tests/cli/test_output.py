"""What is printed, without a server."""

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_client.cli.failure import MOST_LINES, BadInput, Problem
from board_client.cli.output import age
from board_client.cli.visible import visible


@given(st.text())
def test_visible_text_has_no_character_that_breaks_a_line_or_steers_a_terminal(text):
    shown = visible(text)
    assert not any(unicodedata.category(c) == "Cc" for c in shown)
    assert len(shown.splitlines()) <= 1


def test_control_characters_are_shown_as_their_escapes():
    assert visible("a\tb\nc\x1b[31mé\u2028") == "a\\tb\\nc\\x1b[31mé\\u2028"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (90_000, "1d")],
)
def test_an_age_is_in_its_largest_whole_unit(seconds, shown):
    now = datetime(2026, 2, 23, 5, 3, 45, tzinfo=UTC)
    assert age(now - timedelta(seconds=seconds), now) == shown


def test_of_very_many_problems_the_first_are_told_and_the_rest_counted():
    bad = BadInput([Problem("f", line, "wrong") for line in range(1, MOST_LINES + 4)])
    lines = bad.lines()
    assert lines[0] == "f:1: wrong"
    assert lines[-1] == "board: 3 more problems"
    assert len(lines) == MOST_LINES + 1
