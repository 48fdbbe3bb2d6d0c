"""A file of a board is deleted under a running server, which is then killed."""

from pathlib import Path

import pytest

from board_client import BoardClient
from tests.faults.program import Program, assert_sound

BOARD = "nebula"


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_writes_acknowledged_after_the_log_was_deleted_survive_a_kill(tmp_path, suffix):
    with Program(tmp_path, "--board", BOARD) as server:
        server.start()
        with BoardClient(server.address, timeout=30) as client:
            for number in range(5):
                client.set_phase_state(f"before-{number}", "done")
            Path(f"{tmp_path / BOARD}.board.db{suffix}").unlink()
            for number in range(5):
                client.set_phase_state(f"after-{number}", "done")
        server.kill()
        server.start()
        with BoardClient(server.address, timeout=30) as client:
            assert len(client.list_phases()) == 10
        assert server.stop() == 0
    assert_sound(tmp_path, BOARD)
