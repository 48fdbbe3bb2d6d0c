"""What is printed, by single functions and by whole commands."""

import ast
import re
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_client import Contract
from board_client.cli.failure import MOST_LINES, BadInput, Problem
from board_client.cli.output import age
from board_client.cli.visible import visible

WITHOUT_GLYPH = re.compile(
    "VARIATION SELECTOR|FILLER|GRAPHEME JOINER|INHERENT A|PATTERN BLANK|NULL NOTE"
)


def is_seen(character):
    """Whether a reader sees the character: by its category, and by its name in Unicode."""
    name = unicodedata.name(character, "")
    blank = WITHOUT_GLYPH.search(name) and unicodedata.category(character) in {"Mn", "Lo", "So"}
    return not blank and unicodedata.category(character) not in {
        "Cc",
        "Cf",
        "Cn",
        "Cs",
        "Co",
        "Zl",
        "Zp",
    }


def test_every_character_without_a_glyph_is_shown_as_its_escape_and_every_other_as_it_is():
    for character in map(chr, range(0x110000)):
        shown = visible(character)
        if is_seen(character):
            assert shown == character, hex(ord(character))
        else:
            assert shown.isascii(), hex(ord(character))
            assert ast.literal_eval(f'"{shown}"') == character


@given(st.text(st.characters() | st.sampled_from("\u202e\ufe0f\u3164\u115f\u200b\U000e0041\ud800")))
def test_visible_text_is_one_line_and_nothing_in_it_is_hidden(text):
    shown = visible(text)
    assert all(map(is_seen, shown))
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown


def test_control_characters_are_shown_as_their_escapes():
    assert visible("a\tb\nc\x1b[31mé\u2028") == "a\\tb\\nc\\x1b[31mé\\u2028"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (90_000, "1d")],
)
def test_an_age_is_in_its_largest_whole_unit(seconds, shown):
    now = datetime(2026, 2, 23, 5, 3, 45, tzinfo=UTC)
    assert age(now - timedelta(seconds=seconds), now) == shown


def test_the_first_of_many_problems_are_printed_and_the_rest_counted():
    bad = BadInput([Problem("f", line, "wrong") for line in range(1, MOST_LINES + 4)])
    lines = bad.lines()
    assert lines[0] == "f:1: wrong"
    assert lines[-1] == "board: 3 more problems"
    assert len(lines) == MOST_LINES + 1


# Right-to-left override, Hangul fillers, a variation selector, a zero-width space, a tag.
HIDDEN = "\u202e\u3164\u115f\ufe0f\u200b\U000e0041"
SHOWN = "\\u202e\\u3164\\u115f\\ufe0f\\u200b\\U000e0041"


@pytest.fixture
def forged(board):
    """A board with invisible characters in everything that a worker can name."""
    name = f"p{HIDDEN}q"
    board.client.set_phase_state(name, "running", worker=name)
    board.client.open_session(name)
    board.client.claim_file(name, name)
    board.client.publish_contract(
        Contract(name, "type", name, signature=f"a{HIDDEN}\nb{HIDDEN}", package=name)
    )
    board.client.publish_contract(
        Contract("other", "type", name, signature="another", package=name)
    )
    return board


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "phase list",
        "claims",
        "contract list",
        "watch --after 0 --count 5",
        "top --once",
        "snapshot",
        f"wait --file a --phase p{HIDDEN}q=running",
        f"phase set p{HIDDEN}q done",
    ],
)
def test_no_command_prints_an_invisible_character(forged, command):
    result = forged(*command.split(" "), COLUMNS="300", LINES="50")
    assert (result.code, result.err) == (0, "")
    assert all(is_seen(character) for character in result.out if character not in "\n\t")
    assert SHOWN in result.out


def test_an_error_has_no_invisible_character(forged):
    refused = forged("claim", f"p{HIDDEN}q", "--owner", "another")
    assert refused.code == 3
    assert f'"p{SHOWN}q" owned by "p{SHOWN}q"' in refused.err
    assert all(is_seen(character) for character in refused.err if character != "\n")


def test_json_keeps_what_is_hidden_exactly(forged):
    (phase,) = forged("phase", "list", "--json").json
    assert phase["phase_id"] == f"p{HIDDEN}q"
    snapshot = forged("snapshot", "--json")
    assert snapshot.out.isascii()
    assert snapshot.json["contracts"][0]["signature"] == f"a{HIDDEN}\nb{HIDDEN}"
    assert SHOWN in snapshot.json["markdown"]
