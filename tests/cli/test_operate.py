"""An operator's commands on board files, through `board`."""

import json

import pytest

from board_client import BoardClient
from tests.cli.conftest import run
from tests.support.servers import server_process


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "boards"


def test_a_board_is_backed_up_while_it_is_served_and_restored_elsewhere(directory, tmp_path):
    backup = tmp_path / "backup"
    with server_process(directory) as server, BoardClient(server.address) as client:
        client.set_phase_state("a", "queued")
        result = run("backup", backup, "--dir", directory)
        assert result.out == f"{backup}: board boards, revision 1, verified\n", result.err
    restored = tmp_path / "again" / "boards"
    restored.mkdir(parents=True)
    assert run("restore", backup, "--dir", restored).code == 0
    with server_process(restored) as server, BoardClient(server.address) as client:
        assert client.get_phase_state("a") == "queued"


def test_the_option_before_the_command_names_the_board(directory, tmp_path):
    with server_process(directory) as server:
        assert run("--target", server.address, "--board", "other", "open").code == 0
    result = run("--board", "other", "backup", tmp_path / "backup", "--dir", directory)
    assert result.code == 0, result.err


def test_a_board_without_a_server_is_examined_and_compacted(directory):
    with server_process(directory):
        pass
    assert run("doctor", "--dir", directory).code == 0
    assert run("compact", "--dir", directory).code == 0


@pytest.mark.parametrize("words", [["--json", "doctor"], ["doctor", "--json"]])
def test_json_is_printed_if_the_option_stands_before_or_after_a_command_on_files(directory, words):
    with server_process(directory):
        pass
    (examined,) = run(*words, "--dir", directory).json
    assert examined["path"] == str(directory / "boards.board.db")


@pytest.mark.parametrize("words", [["serve", "--zzz"], ["token", "--zzz"], ["backup", "--zzz"]])
def test_under_json_wrong_usage_of_the_servers_commands_is_an_object(words):
    wrong = run("--json", *words)
    assert (wrong.out, wrong.error["reason"]) == ("", "WRONG_USAGE")
    assert wrong.error["message"].startswith("No such option: --zzz; see `board ")


def test_a_board_that_is_served_is_not_compacted(directory):
    with server_process(directory):
        result = run("compact", "--dir", directory)
    assert result.code == 1
    assert result.err.count("\n") == 1


def test_an_archive_has_every_record_that_is_removed(board, tmp_path):
    board.client.set_phase_state("a", "done")
    file = tmp_path / "archive.jsonl"
    result = board("archive", file)
    assert result.code == 0, result.err
    assert result.out.startswith(f"{file}: 1 phase, 0 contracts and 0 claims")
    first, phase = map(json.loads, file.read_text().splitlines())
    assert first["board"]["name"] == board.name
    assert phase["phase"]["phase_id"] == "a"
    assert board.client.list_phases() == []


def test_an_archive_of_the_default_board_names_it(own_server, tmp_path):
    file = tmp_path / "archive.jsonl"
    assert run("--target", own_server, "archive", file).code == 0
    assert json.loads(file.read_text())["board"]["name"] == "boards"


def test_an_archive_never_replaces_a_file(board, tmp_path):
    board.client.set_phase_state("a", "done")
    file = tmp_path / "archive.jsonl"
    file.write_text("precious")
    result = board("archive", file)
    assert result.code == 2
    assert "exists already" in result.err
    assert file.read_text() == "precious"
    assert board.client.get_phase_state("a") == "done"
