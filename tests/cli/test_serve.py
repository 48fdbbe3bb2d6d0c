"""`board serve` becomes the server; a failed start prints one line and changes no file."""

import socket
import sqlite3
import subprocess
from contextlib import closing

import pytest

from board_client import BoardClient
from board_server.announcement import address_in
from tests.cli.conftest import COMMAND, environment, run
from tests.support.servers import server_process

ANY_PORT = ("--listen", "127.0.0.1:0")


def refused(*arguments):
    """Return the line that a server prints that cannot start."""
    failed = run("serve", *arguments)
    assert failed.code == 1
    assert failed.out == ""
    assert failed.err.startswith("board serve: ")
    assert failed.err.count("\n") == 1, failed.err
    return failed.err


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.suffix == ".db"}


def test_it_serves_until_sigterm_as_the_same_process(tmp_path):
    command = [COMMAND, "--board", "mine", "serve", tmp_path / "boards", *ANY_PORT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as server:
        address = address_in(server.stdout.readline().decode())
        with BoardClient(address) as client:
            assert [each.name for each in client.list_boards()] == ["mine"]
        server.terminate()
        assert server.wait(timeout=30) == 0


def test_a_limit_of_open_files_that_is_too_low_is_logged(tmp_path):
    command = ["sh", "-c", 'ulimit -n 300 && exec "$0" "$@"', COMMAND]
    with subprocess.Popen(
        [*command, "serve", tmp_path / "boards", *ANY_PORT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as server:
        assert address_in(server.stdout.readline())
        server.terminate()
        _, result = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "300 files may be open" in result
    assert "max_boards" in result


def test_the_files_of_the_server_are_private_to_its_user(tmp_path):
    directory = tmp_path / "boards"
    with server_process(directory) as server, BoardClient(server.address) as client:
        client.set_phase_state("a", "queued")
        made = [directory, *directory.iterdir()]
    assert len(made) > 2
    assert {oct(path.stat().st_mode & 0o077) for path in made if path.exists()} == {"0o0"}


def test_its_help_is_the_servers():
    result = run("serve", "--help")
    assert result.code == 0
    assert "Usage: board serve" in result.out
    assert "--listen" in result.out


def test_if_the_server_is_not_installed_the_error_says_how_to_install_it(tmp_path):
    # As after `pip install quasar-board`, without the extra: no apsw to be found.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['apsw'] = None\n")
    failed = run("serve", tmp_path / "boards", PYTHONPATH=str(tmp_path))
    assert failed.code == 1
    assert "pip install 'quasar-board[server]'" in failed.err
    assert "apsw" in failed.err
    assert failed.err.count("\n") == 1


def test_a_port_in_use_is_reported(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = refused(tmp_path / "boards", "--listen", address)
    assert f"cannot listen on {address}: Address already in use" in result


def test_no_address_is_announced_before_the_metrics_are_served(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = refused(tmp_path / "boards", *ANY_PORT, "--metrics-listen", address)
    assert f"cannot listen on {address}: Address already in use" in result


def test_a_file_in_the_place_of_a_socket_is_reported_and_left_alone(tmp_path):
    file = tmp_path / "a file"
    file.write_text("in the way")
    for address in (f"unix:{file}", f"unix:{tmp_path}/a%20file"):
        result = refused(tmp_path / "boards", "--listen", address)
        assert f"cannot listen on {address}: a file that is not a socket is there" in result
    assert file.read_text() == "in the way"


def test_a_second_server_on_the_same_directory_reports_the_process_that_serves_it(tmp_path):
    directory = tmp_path / "boards"
    with server_process(directory) as server:
        before = contents(directory)
        result = refused(directory, *ANY_PORT)
        holder = f"the board is served by process {server.process.pid}"
        assert f"{directory / 'boards.board.db'}: {holder}" in result
        assert contents(directory) == before
        with BoardClient(server.address) as client:
            client.open_board()  # the first serves on


def test_a_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = refused(tmp_path / "file" / "boards", *ANY_PORT)
    assert str(tmp_path / "file" / "boards") in result
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.fixture
def file(tmp_path):
    """Where the default board of a server on `tmp_path / "boards"` is kept."""
    directory = tmp_path / "boards"
    directory.mkdir()
    return directory / "boards.board.db"


def test_a_file_that_is_no_database_is_reported_and_left_alone(file):
    content = b"these are not the bytes of a database\n" * 100
    file.write_bytes(content)
    result = refused(file.parent, *ANY_PORT)
    assert f"{file}: not a board file" in result
    assert contents(file.parent) == {file.name: content}


def test_a_database_of_something_else_is_reported_and_left_alone(file):
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    before = contents(file.parent)
    assert f"{file}: not a board file" in refused(file.parent, *ANY_PORT)
    assert contents(file.parent) == before


def test_a_board_of_a_newer_version_is_reported_and_left_alone(file):
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 999")
        db.execute("CREATE TABLE board (task_id TEXT)")
    before = contents(file.parent)
    assert f"{file}: written by a newer version" in refused(file.parent, *ANY_PORT)
    assert contents(file.parent) == before


def test_an_invalid_setting_is_reported(tmp_path):
    assert "--insecure" in refused(tmp_path / "boards", "--listen", "0.0.0.0:0")
    assert not (tmp_path / "boards").exists()
