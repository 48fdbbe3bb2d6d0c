"""`board doctor` reports what is wrong with a board and what to do, and nothing if it is sound."""

import os
import shutil
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from board_client import BoardClient, Contract
from board_server.errors import StoreUnavailable
from board_server.sqlite.connection import connect_to_read
from board_server.sqlite.maintenance import doctor as examining
from board_server.sqlite.maintenance.backup import back_up
from board_server.sqlite.maintenance.doctor import examine, faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from tests.maintenance.test_backup import BOARD, file_of, keep, spoiled
from tests.support.servers import server_thread


@pytest.fixture
def board(tmp_path):
    """A closed board with records of every kind."""
    with server_thread(tmp_path, board=BOARD) as address, BoardClient(address) as client:
        session = client.open_session("w", 3600)
        with client.session("w", ttl=3600) as mine:
            mine.set_phase_state("a", "running")
            mine.claim_file("bound.go", "a")
            client.publish_contract(Contract("a", "type", "T"))
            client.publish_contract(Contract("a", "type", "T", signature="changed"))
            client.claim_file("x.go", "a")
        client.close_session(session.session_id)
        client.open_session("stays", 3600)
        client.archive_board(client.get_snapshot().revision)
        client.set_phase_state("b", "queued")
    return file_of(tmp_path)


def damage(board, statement):
    with closing(apsw.Connection(str(board))) as db:
        db.execute(statement)


def interrupted(board):
    """Give the board the rollback journal of a program that was killed while it wrote."""
    with closing(apsw.Connection(str(board))) as db:
        db.pragma("journal_mode", "delete")
        db.pragma("cache_size", 1)  # so that pages are written before the commit
        db.execute("BEGIN; CREATE TABLE large (text); INSERT INTO large VALUES (randomblob(99999))")
        copies = [Path(f"{board}{end}") for end in ("", "-journal")]
        for path in copies:
            shutil.copy(path, f"{path}.copy")
    for path in copies:
        Path(f"{path}.copy").replace(path)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@contextmanager
def user_that_cannot_write(board):
    """Set the board's mode to 0400; root becomes another user, who owns it."""
    user = os.geteuid()
    board.chmod(0o400)
    for path in (board.parent, *board.parent.iterdir()):
        os.chown(path, user or 12345, -1)
    os.seteuid(user or 12345)
    try:
        yield
    finally:
        os.seteuid(user)
        board.chmod(0o600)


@pytest.fixture
def closed_board(board):
    """A closed board, in a directory that another user can reach."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(shutil.copy(board, made))


def advice(board):
    return [finding for finding in examine(board) if finding.advice]


def test_a_sound_board_gets_no_advice(board):
    assert advice(board) == []
    assert any("sound" in finding.what for finding in examine(board))


def test_the_doctor_says_that_a_board_is_served(tmp_path):
    with server_thread(tmp_path, board=BOARD) as address, BoardClient(address) as client:
        client.set_phase_state("a", "queued")
        assert any("served by process" in what for what, _ in examine(file_of(tmp_path)))
        assert advice(file_of(tmp_path)) == []
    assert any("no server has it" in what for what, _ in examine(file_of(tmp_path)))


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE board SET state = 'done'", "phase 'b' is"),
        ("DELETE FROM board", "phase 'b' is missing"),
        ("INSERT INTO file_claims VALUES ('y.go', 'a', '2026-01-01')", "no event has it"),
        (
            "INSERT INTO file_claims VALUES ('x.go', 'a', '2026-01-01')",
            "the events say that it was removed",
        ),
        ("DELETE FROM sessions", "is missing"),
        ("DELETE FROM events WHERE revision = 3", "has events of"),
        ("UPDATE meta SET revision = revision + 1", "has events of"),
        ("INSERT INTO phase_sessions VALUES ('nobody', 'none')", "is not there"),
    ],
)
def test_a_row_that_contradicts_the_events_is_found(board, statement, fault):
    damage(board, statement)
    assert any(fault in found for found in faults(board)), list(faults(board))


def test_a_file_with_a_broken_page_is_found(board):
    with board.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    assert list(faults(board))
    assert any("restore" in result for _, result in examine(board))


def test_the_doctor_reports_a_write_ahead_log_that_is_too_large(board, monkeypatch):
    monkeypatch.setattr(examining, "LARGE_LOG", -1)
    (found,) = advice(board)
    assert found.what.startswith("write-ahead log of")


def test_a_disk_with_little_room_is_reported(board, monkeypatch):
    monkeypatch.setattr(examining, "MIN_FREE", 2**62)
    (found,) = advice(board)
    assert "free some space" in found.advice


def test_a_board_that_cannot_be_written_is_examined_and_no_file_is_left_beside_it(closed_board):
    before = contents(closed_board.parent)
    with user_that_cannot_write(closed_board):
        assert advice(closed_board) == []
        back_up(closed_board, closed_board.with_name("copy"))
    closed_board.with_name("copy").unlink()
    assert contents(closed_board.parent) == before


def test_a_write_ahead_log_without_an_index_is_not_changed_by_the_doctor(closed_board):
    with closing(apsw.Connection(str(closed_board))) as db:
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        db.execute("UPDATE meta SET compacted_revision = compacted_revision")
    Path(f"{closed_board}-shm").unlink()
    before = contents(closed_board.parent)
    with user_that_cannot_write(closed_board):
        (found,) = advice(closed_board)
    assert "make the file writable" in found.advice
    assert contents(closed_board.parent) == before


def test_a_reading_without_locks_is_discarded_if_the_board_is_written_meanwhile(closed_board):
    with (
        pytest.raises(StoreUnavailable, match="repeat"),
        user_that_cannot_write(closed_board),
        connect_to_read(closed_board),
    ):
        os.utime(closed_board, (1, 1))


def test_an_interrupted_write_is_found_and_not_undone(board):
    interrupted(board)
    before = contents(board.parent)
    (found,) = advice(board)
    assert "start a server" in found.advice
    with pytest.raises(MaintenanceError, match="interrupted"):
        back_up(board, board.with_name("copy"))
    assert contents(board.parent) == before
    with server_thread(board.parent, board=BOARD):
        assert advice(board) == []


def test_the_doctor_reports_a_symbolic_link_and_examines_the_other_boards(board, tmp_path, command):
    for name, target in (("a", board), ("z", tmp_path / "nowhere")):
        (tmp_path / f"{name}.board.db").symlink_to(target)
    code, out, err = command("doctor", "--dir", tmp_path)
    assert (code, err) == (1, "")
    assert out.count("✗ no server can open it") == 2
    assert out.count("symbolic link") == 2
    assert out.count("✓ its contents are sound") == 2


def test_names_within_a_board_file_are_escaped_in_the_terminal(board, command):
    damage(board, 'CREATE TABLE "\x1b[2J" (text); INSERT INTO "\x1b[2J" VALUES (NULL)')
    declared = "sql = replace(sql, 'text', 'text NOT NULL') WHERE name LIKE '%2J'"
    damage(board, f"PRAGMA writable_schema = 1; UPDATE sqlite_schema SET {declared}")
    result = command("doctor", "--dir", board.parent)
    assert (result.code, r"NULL value in \x1b[2J.text" in result.out) == (1, True)
    refused = command("backup", board.parent / "copy", "--dir", board.parent, "--board", BOARD)
    assert (refused.code, r"\x1b[2J" in refused.err) == (1, True)
    assert "\x1b" not in result.out + refused.err


@pytest.mark.usefixtures("board")
def test_the_command_exits_with_0_if_all_boards_are_sound_else_with_1(tmp_path):
    (tmp_path / "more").mkdir()
    spoiled(tmp_path / "more").rename(file_of(tmp_path, "spoiled"))
    result = keep("doctor", "--dir", tmp_path)
    assert result.returncode == 1
    assert "✗ claim 'x.go' is" in result.stdout
    assert keep("doctor", "--dir", tmp_path, "--board", BOARD).returncode == 0
