"""`board compact` shrinks a file, and drops nothing but old events."""

from contextlib import closing

import pytest

from board_client import BoardClient, Contract, RevisionCompacted
from board_server.sqlite.maintenance.compact import compact
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from tests.maintenance.test_backup import BOARD, file_of, spoiled
from tests.support.servers import server_thread


def test_a_compacted_board_is_smaller_and_has_the_same_content(tmp_path):
    board = file_of(tmp_path)
    with server_thread(tmp_path, board=BOARD) as address, BoardClient(address) as client:
        for number in range(40):
            client.publish_contract(
                Contract("a", "type", f"{number % 4}", signature=f"{number}" * 5000)
            )
        held = client.get_snapshot()
        with pytest.raises(MaintenanceError, match="is served by"):
            compact(board, 10)
    before, after = compact(board, 10)
    assert after < before / 2
    assert list(faults(board)) == []
    with server_thread(tmp_path, board=BOARD) as address, BoardClient(address) as client:
        assert client.get_snapshot() == held
        with pytest.raises(RevisionCompacted):
            next(client.watch(after_revision=held.revision - 11))
        watch = client.watch(after_revision=held.revision - 10)
        assert next(watch).revision == held.revision - 9
        watch.close()


def test_a_board_of_fewer_revisions_than_are_to_be_kept_keeps_them_all(tmp_path):
    board = file_of(tmp_path)
    with server_thread(tmp_path, board=BOARD) as address, BoardClient(address) as client:
        client.set_phase_state("p1", "queued")
    compact(board, 10**30)
    with (
        server_thread(tmp_path, board=BOARD) as address,
        BoardClient(address) as client,
        closing(client.watch(after_revision=0)) as events,
    ):
        assert next(events).revision == 1


def test_a_damaged_board_keeps_its_events(tmp_path):
    board = spoiled(tmp_path)
    before = board.read_bytes()
    with pytest.raises(MaintenanceError, match="not sound"):
        compact(board, 0)
    assert board.read_bytes() == before


def test_a_board_is_not_compacted_through_a_symbolic_link(tmp_path):
    board = file_of(tmp_path / "elsewhere")
    with server_thread(board.parent, board=BOARD):
        file_of(tmp_path).symlink_to(board)
        with pytest.raises(MaintenanceError, match="symbolic link"):
            compact(file_of(tmp_path), 0)


def test_the_command_prints_the_size_before_and_after(command, tmp_path):
    with server_thread(tmp_path, board=BOARD) as address, BoardClient(address) as client:
        client.set_phase_state("a", "queued")
    result = command("compact", "--dir", tmp_path, "--board", BOARD)
    assert result.code == 0
    assert "bytes before" in result.out
    assert command("compact", "--dir", tmp_path, "--board", "none").code == 1
