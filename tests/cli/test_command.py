"""The command as a whole: its help, its exit codes, and what it does without a board."""

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest

from tests.cli.conftest import COMMAND, environment, run
from tests.cli.terminal import terminal


def test_help_lists_the_commands_and_the_exit_codes():
    result = run("--help", COLUMNS="200")
    assert result.code == 0
    for word in ("serve", "load", "status", "phase", "contract", "claims", "Exit codes: 0 success"):
        assert word in result.out


def test_without_arguments_the_help_is_shown():
    assert "Usage: board" in run().out


def test_the_version_is_that_of_the_package():
    assert run("--version").out == f"board {version('quasar-board')}\n"


@contextmanager
def no_server():
    """The address of a port that is bound and on which no server listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{closed.getsockname()[1]}"


@pytest.mark.parametrize(
    "command",
    ["status", "watch", "claim a --owner p", "top --once", "run --session -- true"],
)
def test_without_a_server_one_line_says_so(command):
    with no_server() as address:
        lost = run("--target", address, *command.split())
    assert (lost.code, lost.out) == (4, "")
    assert lost.err == f"board: no board answers at {address}; `board serve` starts one\n"


def test_without_a_server_top_prints_one_line_and_no_blank_screen():
    with no_server() as address, terminal("--target", address, "top") as shown:
        shown.shows(f"board: no board answers at {address}; `board serve` starts one\r\n")
        code, left = shown.ends()
        assert (code, left) == (4, False), "the other screen was not even entered"


def test_top_says_that_it_is_connecting():
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        terminal("--target", f"127.0.0.1:{mute.getsockname()[1]}", "top") as shown,
    ):
        shown.shows(f"connecting to 127.0.0.1:{mute.getsockname()[1]} ...")


def test_a_server_that_is_not_a_board_is_reported_in_our_words():
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        other = run("--target", address, "boards")
    finally:
        server.stop(None).wait()
    assert (other.code, other.out) == (1, "")
    assert other.err == (
        f"board: the server at {address} is older than this command, or is not a board\n"
    )


def test_a_call_to_a_server_that_never_answers_ends_at_its_deadline():
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts connections, and sends nothing
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        lost = run("--target", address, "--timeout", "0.5", "owner", "a")
    assert lost.code == 4
    assert lost.err == f"board: the board at {address} gave no answer within 0.5 s\n"


def test_a_board_that_does_not_exist_is_named(unopened):
    missing = unopened("claims")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.startswith(f'board: board "{unopened.name}" does not exist; ')


def test_bad_input_exits_with_2_in_one_line(target, tmp_path):
    for arguments in (
        ["--board", "../x", "open"],
        ["owner", b"\xff"],
        ["load", tmp_path / "nowhere"],
    ):
        refused = run("--target", target, *arguments)
        assert (refused.code, refused.out) == (2, ""), arguments
        assert refused.err.count("\n") == 1, refused.err


def test_wrong_usage_exits_with_2(tmp_path):
    for arguments in (
        ["--timeout", "nan", "status"],
        ["--target", "unix:", "status"],
        ["contract", "publish", tmp_path / "nowhere"],
    ):
        refused = run(*arguments)
        assert (refused.code, refused.out) == (2, ""), arguments
        assert "Traceback" not in refused.err


def test_output_to_a_full_disk_is_an_error(board):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [COMMAND, "--target", board.target, "status"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(BOARD_NAME=board.name),
        )
    assert done.returncode == 1
    assert done.stderr == b"board: cannot write: No space left on device\n"


def test_output_is_written_whatever_the_terminal_can_show(board):
    board.client.claim_file("é→.go", "p1")
    assert board("claims", PYTHONIOENCODING="ascii").out.startswith("\\xe9\\u2192.go\tp1\t")
