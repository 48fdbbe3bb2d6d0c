"""docs/cli.md documents every command, option and exit code, and no others."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from board_client.cli.app import EXIT_CODES, app
from board_client.cli.failure import ExitCode

MANUAL = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()

COMMANDS = {
    " ".join(path): options
    for path, options in [
        ((name, *sub), options)
        for name, command in get_command(app).commands.items()
        for sub, options in (
            [((inner,), each.params) for inner, each in command.commands.items()]
            if hasattr(command, "commands")
            else [((), command.params)]
        )
    ]
}

ROWS = dict(
    re.findall(
        r"^\| `((?:contract |phase |session )?[a-z]+)((?: .*?)?)` \| [a-z]",
        MANUAL.partition("## Commands")[2].partition("\n\n**")[0],
        re.MULTILINE,
    )
)


def test_every_command_has_a_row_and_every_row_a_command():
    assert ROWS.keys() == COMMANDS.keys()


OF_THE_SERVER = {"serve", "token", "backup", "restore", "compact", "doctor"}
"""Commands that pass all their options on to the server."""


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - OF_THE_SERVER))
def test_every_option_of_a_command_is_in_its_row_and_no_others(name):
    real = {word for option in COMMANDS[name] for word in option.opts if word.startswith("--")}
    result = set(re.findall(r"--[a-z-]+", ROWS[name].partition(" -- ")[0]))
    assert result == real - {"--json", "--help"}


def test_every_exit_code_has_a_row_and_every_row_an_exit_code():
    cells = re.findall(r"^\| ([\d, ]+) \|", MANUAL, re.MULTILINE)
    result = {int(code) for cell in cells for code in cell.split(",")}
    assert result == {*ExitCode}


def test_the_help_lists_the_exit_codes_too():
    own = {code for code in ExitCode if code < 100}
    assert {int(code) for code in re.findall(r"\b(\d)\b", EXIT_CODES)} == own


def test_every_global_option_is_documented():
    real = {word for option in get_command(app).params for word in option.opts}
    for option in real - {"--version", "--help", "-h", "--show-completion"}:
        assert f"`{option}" in MANUAL or f"`board {option}" in MANUAL, option
