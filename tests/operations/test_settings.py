"""Settings come from flags, the environment, a file and defaults, in that order."""

import os
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Literal, NamedTuple, get_origin

import pytest

from board_server.__main__ import main
from board_server.config.schema import BadConfig, Config, annotations, flag
from board_server.config.sources import as_toml


class Result(NamedTuple):
    """The exit code and the output of a run."""

    code: int
    out: str
    err: str


@pytest.fixture
def serve(monkeypatch, capsys):
    """Run the main function of `board serve`; return its exit code and output."""

    def run(*arguments, **environment) -> Result:
        for name in [name for name in os.environ if name.startswith("BOARD_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["board", *map(str, arguments), "--print-config"])
        with pytest.raises(SystemExit) as ended:
            main()
        result = capsys.readouterr()
        return Result(ended.value.code or 0, result.out, result.err)

    return run


@pytest.fixture
def printed(serve):
    """The settings that the server would use."""

    def run(*arguments, **environment) -> dict:
        result = serve(*arguments, **environment)
        assert result.code == 0, result.err
        return tomllib.loads(result.out)

    return run


@pytest.fixture
def refused(serve):
    """Return the line with which the server refuses to start."""

    def run(*arguments, **environment) -> str:
        result = serve(*arguments, **environment)
        assert result.code == 1  # as docs/cli.md says
        assert result.out == ""
        assert result.err.startswith("board serve: ")
        assert result.err.count("\n") == 1, result.err
        return result.err

    return run


def test_flags_override_the_environment_which_overrides_the_file_which_overrides_the_defaults(
    printed, tmp_path
):
    file = tmp_path / "board.toml"
    file.write_text(
        'max_calls = 1\nmax_watches = 1\nmax_waiters = 1\nlisten = ["unix:from-file"]\n'
    )
    got = printed(
        *("--config", file, "--max-calls", "3"),
        BOARD_SERVE_MAX_CALLS="2",
        BOARD_SERVE_MAX_WATCHES="2",
    )
    assert (got["max_calls"], got["max_watches"], got["max_waiters"]) == (3, 2, 1)
    assert got["listen"] == ["unix:from-file"]
    assert got["max_queue"] == Config().max_queue


def test_a_printed_config_can_be_read_back_equal(serve, printed, tmp_path):
    (tmp_path / "tokens.toml").touch()
    arguments = (
        *("some dir", "--board", "b", "--listen", "127.0.0.1:0", "--listen", 'unix:a "b"'),
        *("--grace", "1.5", "--tokens", tmp_path / "tokens.toml", "--insecure"),
    )
    result = serve(*arguments)
    file = tmp_path / "board.toml"
    file.write_text(result.out)
    assert serve("--config", file).out == result.out
    assert set(printed("--config", file)) >= {
        f.name for f in fields(Config) if f.default not in (None, "")
    }


def test_the_file_can_be_named_by_the_environment(printed, tmp_path):
    file = tmp_path / "board.toml"
    file.write_text("max_calls = 7\n")
    assert printed(BOARD_SERVE_CONFIG=str(file))["max_calls"] == 7


def test_the_short_variables_are_read_too(printed):
    got = printed(BOARD_NAME="nebula", BOARD_LISTEN="127.0.0.1:1")
    assert (got["board"], got["listen"]) == ("nebula", ["127.0.0.1:1"])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("max_cals = 1", "max_cals"),
        ("[listen]\na = 1", "listen"),
        ('listen = "127.0.0.1:0"', "listen"),
        ("listen = [1]", "listen"),
        ('max_calls = "many"', "--max-calls"),
        ("max_calls = 1.5", "--max-calls"),
        ("max_calls = true", "max_calls"),
        ("max_calls = 0", "--max-calls"),
        ("insecure = 1", "insecure"),
        ("grace = -1", "--grace"),
        ("grace = nan", "--grace"),
        ("keepalive = 0", "--keepalive"),
        ('log_level = "loud"', "--log-level"),
        ('log_format = "xml"', "--log-format"),
        ('synchronous = "off"', "--synchronous"),
        ('listen = ["nowhere"]', "nowhere"),
        ('listen = ["0.0.0.0:1"]', "0.0.0.0:1"),
        ("listen = []", "--listen"),
        ('metrics_listen = "unix:1"', "--metrics-listen"),
        ('tls_cert = "c.pem"', "--tls-key"),
        ('client_ca = "ca.pem"', "--tls-cert"),
        ('board = "../x"', "../x"),
        ("this is no TOML", "board.toml"),
    ],
)
def test_an_invalid_file_is_refused_by_name(refused, tmp_path, content, named):
    file = tmp_path / "board.toml"
    file.write_text(content)
    assert named in refused("--config", file)


def test_invalid_flags_and_variables_are_refused_by_name(refused):
    assert "--bogus" in refused("--bogus")
    assert "--max-calls" in refused("--max-calls", "x")
    assert "/nonexistent" in refused("--config", "/nonexistent")
    assert "BOARD_SERVE_MAX_CALLS" in refused(BOARD_SERVE_MAX_CALLS="x")
    assert "BOARD_SERVE_MAX_CALS" in refused(BOARD_SERVE_MAX_CALS="1")


TEXTS = [f.name for f in fields(Config) if isinstance(f.default, str | tuple | Path | None)]


@pytest.mark.parametrize("name", [*TEXTS, "max_calls", "insecure"])
def test_a_variable_that_is_set_but_empty_is_refused_by_name(refused, name):
    """An unset variable in a script would otherwise start a server without tokens."""
    variable = f"BOARD_SERVE_{name.upper()}"
    assert f'"{variable}" is empty' in refused(**{variable: ""})


def test_a_variable_of_spaces_counts_as_empty(refused):
    assert "BOARD_SERVE_TOKENS" in refused(BOARD_SERVE_TOKENS="  ")


@pytest.mark.parametrize("name", ["BOARD_NAME", "BOARD_LISTEN", "BOARD_SERVE_CONFIG"])
def test_the_other_variables_are_refused_if_empty(refused, name):
    assert name in refused(**{name: ""})


@pytest.mark.parametrize("name", TEXTS)
def test_a_flag_that_is_empty_is_refused_by_name(refused, name):
    result = refused("") if name == "directory" else refused(f"--{name.replace('_', '-')}", "")
    assert ("DIR" if name == "directory" else f"--{name.replace('_', '-')}") in result


@pytest.mark.parametrize("name", [*TEXTS, "max_calls", "insecure"])
def test_a_key_of_the_file_that_is_empty_is_refused_by_name(refused, tmp_path, name):
    file = tmp_path / "board.toml"
    file.write_text(f'{name} = ""\n')
    assert name in refused("--config", file)


def test_an_empty_flag_of_the_file_of_settings_is_refused(refused):
    assert "--config" in refused("--config", "")


def test_a_value_that_is_not_a_number_is_refused_with_its_variable(refused):
    assert "'BOARD_SERVE_MAX_CALLS'" in refused(BOARD_SERVE_MAX_CALLS="x")
    assert "[" not in refused(BOARD_SERVE_MAX_CALLS="x")


def test_a_number_out_of_range_is_refused_with_the_range(refused):
    assert "--max-calls must be 1 to 2147483647, not 0" in refused("--max-calls", "0")
    assert "--keep-bytes must be 1048576 to 2147483647, not 1" in refused("--keep-bytes", "1")
    assert "--keepalive must be 0.001 to 1000000 seconds, not 0" in refused("--keepalive", "0")
    assert "--grace must be 0 to 1000000 seconds, not -1" in refused("--grace", "-1")


@pytest.mark.parametrize(
    "listeners",
    [
        ["--listen", "127.0.0.1:0"],
        ["--listen", "unix:socket", "--listen", "[::1]:0"],
        ["--listen", "127.0.0.1:0", "--tls-cert", "cert", "--tls-key", "key"],
    ],
)
def test_the_poller_is_refused_where_strangers_can_connect(refused, listeners):
    result = refused("--engine", "poller", *listeners)
    assert "--engine poller" in result
    assert "--client-ca" in result


@pytest.mark.parametrize(
    "listeners",
    [
        ["--listen", "unix:socket"],
        ["--listen", "0:1", "--tls-cert", "cert", "--tls-key", "key", "--client-ca", "ca"],
    ],
)
def test_the_poller_serves_where_only_trusted_peers_connect(printed, listeners):
    assert printed("--engine", "poller", *listeners)["engine"] == "poller"
    assert printed(*listeners)["engine"] == "default"


@pytest.mark.parametrize("value", [-1, 2**31])
@pytest.mark.parametrize(
    "name", [name for name, (kind, _) in annotations().items() if kind in {int, float}]
)
def test_every_number_has_a_range_and_is_refused_outside_of_it(name, value):
    with pytest.raises(BadConfig, match=f"{flag(name)} must be "):
        Config(**{name: value})


@pytest.mark.parametrize(
    "name", [name for name, (kind, _) in annotations().items() if get_origin(kind) is Literal]
)
def test_every_choice_refuses_a_word_that_it_does_not_have(name):
    with pytest.raises(BadConfig, match=f'{flag(name)} must be .*, not "loud"'):
        Config(**{name: "loud"})


def test_an_address_of_metrics_without_a_port_is_refused_by_its_setting(refused):
    result = refused("--metrics-listen", "9464")
    assert '--metrics-listen must be HOST:PORT, not "9464"' in result
    assert "unix:" not in result


def test_a_variable_gives_several_addresses_with_spaces_between(printed):
    got = printed(BOARD_SERVE_LISTEN="127.0.0.1:1 unix:/run/board.sock")
    assert got["listen"] == ["127.0.0.1:1", "unix:/run/board.sock"]


def test_the_document_has_every_setting_with_its_default_and_help():
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    defaults = dict(line.split(" = ", 1) for line in as_toml(Config()).splitlines())
    for field in fields(Config):
        default = f"`{defaults[field.name]}`" if field.default not in (None, "") else ""
        _, setting = annotations()[field.name]
        assert f"| `{field.name}` | {default} | {setting.help} |\n" in document


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_settings_file_without_an_end_is_refused(refused, tmp_path, put):
    file = tmp_path / "board.toml"
    put(file)
    assert f"{file} is not a regular file" in refused("--config", file)
