"""Under --json the maintenance commands print results and errors as JSON."""

import json

import pytest

from board_client import BoardClient
from tests.support.servers import server_thread

BOARD = "nebula"


@pytest.fixture
def directory(tmp_path):
    """A directory with one board that no server has open."""
    directory = tmp_path / "boards"
    with server_thread(directory, board=BOARD) as address, BoardClient(address) as client:
        client.set_phase_state("a", "queued")
    return directory


def test_each_command_prints_its_result(command, directory, tmp_path):
    where = ("--dir", directory, "--board", BOARD, "--json")
    path, file = str(directory / f"{BOARD}.board.db"), str(tmp_path / "backup")
    done = {name: command(name, *where) for name in ("compact", "doctor")}
    done["backup"] = command("backup", file, *where)
    done["all"] = command("backup", "--all", tmp_path, "--dir", directory, "--json")
    done["restore"] = command("restore", file, "--force", *where)
    assert {ended.code or 0 for ended in done.values()} == {0}
    result = {name: json.loads(ended.out) for name, ended in done.items()}
    assert result["backup"] == {"file": file, "board": BOARD, "revision": 1}
    assert [made["board"] for made in result["all"]] == [BOARD]
    assert (result["restore"]["path"], result["restore"]["revision"]) == (path, 1)
    assert result["restore"]["renamed"].startswith(path)
    assert result["compact"].keys() == {"path", "bytes_before", "bytes_after"}
    ((examined),) = result["doctor"]
    assert examined["path"] == path
    assert {found["advice"] for found in examined["findings"]} == {None}


def test_an_error_is_an_object(command, tmp_path):
    for arguments, code, reason in (
        (["backup", "--json"], 2, "WRONG_USAGE"),
        (["doctor", "--json", "--nonsense"], 2, "WRONG_USAGE"),
        (["doctor", "--json", "--dir", tmp_path], 1, "ERROR"),
    ):
        ended = command(*arguments)
        (line,) = ended.err.splitlines()
        error = json.loads(line)
        assert (ended.code, ended.out, error["reason"]) == (code, "", reason)
        assert error["message"]
        assert error["metadata"] == {}
