"""A Unix socket has one server at a time; files of other programs are not replaced."""

import os
import socket
import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest

from board_client import BoardClient
from board_server.config.schema import Config
from board_server.errors import CannotListen
from tests.support.secured import running
from tests.support.servers import server_process


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "board.sock"


@pytest.fixture
def config(tmp_path, path):
    """Make the Config of a server with a directory of its own and the shared socket."""
    return lambda name: Config(tmp_path / name, listen=(f"unix:{path}",), grace=1)


def boards(path):
    with BoardClient(f"unix:{path}") as client:
        return [each.name for each in client.list_boards()]


def names(path):
    return sorted(each.name for each in path.parent.iterdir())


def test_a_second_server_is_refused_and_the_first_stays_reachable(config, path):
    with running(config("first")):
        with (
            pytest.raises(CannotListen, match=rf"{path}: process \d+ on .* listens there"),
            running(config("second")),
        ):
            pass
        assert boards(path) == ["first"]


def test_if_servers_start_at_once_one_gets_the_socket(config, path):
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    starters = 4
    at_once, done = threading.Barrier(starters), threading.Barrier(starters)
    serving, refused = [], []

    def start(name):
        with ExitStack() as started:
            at_once.wait(30)
            try:
                started.enter_context(running(config(name)))
                serving.append(name)
            except CannotListen:
                refused.append(name)
            done.wait(30)
            if name in serving:
                serving.append(boards(path))

    threads = [threading.Thread(target=start, args=(f"b{n}",)) for n in range(starters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == starters - 1
    (winner, seen) = serving
    assert seen == [winner]


def test_the_socket_of_a_server_that_was_killed_is_taken_over(config, tmp_path, path):
    with server_process(tmp_path / "first", listen=f"unix:{path}") as server:
        server.kill()
    assert path.is_socket()
    with running(config("second")):
        assert boards(path) == ["second"]


def test_the_socket_of_another_program_is_not_replaced(config, path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with (
            pytest.raises(CannotListen, match="another program listens there"),
            running(config("boards")),
        ):
            pass
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_server_that_shuts_down_removes_only_its_own_socket(config, path):
    with running(config("boards")):
        assert names(path) == ["board.sock", "board.sock.lock"]
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"
    path.unlink()
    with running(config("boards")):
        pass
    assert names(path) == ["board.sock.lock"]


def test_a_file_or_link_in_the_place_of_a_socket_is_left_alone(config, path, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("in the way")
    path.symlink_to(elsewhere)
    with pytest.raises(CannotListen, match="not a socket is there"), running(config("boards")):
        pass
    assert path.is_symlink()
    assert elsewhere.read_text() == "in the way"


def test_a_path_need_not_be_utf8(config, tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.sock")
    with running(replace(config("first"), listen=(f"unix:{path}",))):
        assert path.is_socket()


def test_a_path_that_is_too_long_is_refused(tmp_path):
    long = tmp_path / ("x" * 120)
    with (
        pytest.raises(CannotListen, match="at most 107 bytes"),
        running(Config(tmp_path / "boards", listen=(f"unix:{long}",))),
    ):
        pass
    assert {each.name for each in tmp_path.iterdir()} == {"boards"}
