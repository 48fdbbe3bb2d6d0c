"""A restored board equals the backup, whatever files were beside it, even after a crash."""

import asyncio
import errno
import os
import shutil
import stat
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from board_client import BoardClient
from board_server.files import atomic
from board_server.model import PhaseChange, PhaseState
from board_server.sqlite import SqliteStore
from board_server.sqlite.maintenance import aside
from board_server.sqlite.maintenance.backup import back_up
from board_server.sqlite.maintenance.doctor import examine, faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from board_server.sqlite.maintenance.restore import restore
from tests.faults.disk import FailingDisk, error
from tests.maintenance.test_backup import BOARD, file_of
from tests.support.servers import server_thread

RESTORE = """
import sys
from pathlib import Path
from board_server.sqlite.maintenance.restore import restore
restore(Path(sys.argv[1]), Path(sys.argv[2]), force=True)
"""


class Crashed(NamedTuple):
    """A board of a killed server, with most records in its log, and an older backup of it."""

    board: Path
    backup: Path


@pytest.fixture(scope="module")
def left_by_a_crash(tmp_path_factory):
    there = tmp_path_factory.mktemp("crashed")
    backup, boards = there / "backup", there / "boards"

    async def write():
        store = SqliteStore(there / "live")
        await store.open_board(BOARD)
        await store.set_phase_state(BOARD, PhaseChange("a", PhaseState.QUEUED))
        live = file_of(there / "live")
        back_up(live, backup)
        for number in range(30):
            await store.set_phase_state(BOARD, PhaseChange(f"p{number}", PhaseState.DONE))
        boards.mkdir()
        for part in ("", "-wal"):
            shutil.copy(f"{live}{part}", boards)
        await store.close()

    asyncio.run(write())
    return there


@pytest.fixture
def crashed(left_by_a_crash, tmp_path):
    shutil.copytree(left_by_a_crash, tmp_path, dirs_exist_ok=True)
    return Crashed(file_of(tmp_path / "boards"), tmp_path / "backup")


def identity(board):
    """Read the board's ID and revision from a file with its log."""
    with closing(apsw.Connection(str(board))) as db:
        assert db.pragma("integrity_check") == "ok"
        return db.execute("SELECT board_id, revision FROM meta").fetchone()


def served(board):
    with server_thread(board.parent, board=BOARD) as address, BoardClient(address) as client:
        return client.get_snapshot().revision


def test_a_write_ahead_log_without_its_board_is_renamed_and_not_served(crashed):
    crashed.board.unlink()
    revision, aside = restore(crashed.backup, crashed.board)
    assert served(crashed.board) == revision == 1
    assert aside.name == f"{crashed.board.name}.replaced-wal"
    assert aside.stat().st_size
    assert any("log without a board" in what for what, _ in examine(crashed.board))


def test_a_rollback_journal_is_not_applied_to_a_restored_board(crashed, tmp_path):
    other = tmp_path / "other"
    shutil.copy(crashed.backup, other)
    with closing(apsw.Connection(str(other))) as db:
        db.execute("PRAGMA cache_size = 1; BEGIN; UPDATE meta SET board_id = 'in the journal'")
        db.execute("CREATE TABLE large AS SELECT hex(zeroblob(100000)) AS text")
        journal = Path(f"{other}-journal").read_bytes()
        db.execute("ROLLBACK")
    for path in crashed.board.parent.iterdir():
        path.unlink()
    Path(f"{crashed.board}-journal").write_bytes(journal)
    _, aside = restore(crashed.backup, crashed.board)
    assert identity(crashed.board)[0] != identity(crashed.backup)[0]
    assert aside.read_bytes() == journal


def test_a_restore_that_is_killed_at_any_step_and_repeated_never_mixes_two_boards(
    left_by_a_crash, tmp_path
):
    old_id, step = None, 0
    while True:
        step += 1
        there = tmp_path / f"{step}"
        shutil.copytree(left_by_a_crash, there)
        board, backup = file_of(there / "boards"), there / "backup"
        old_id = old_id or identity(_copy(board, there / "old"))[0]
        killed = subprocess.run(
            [sys.executable, "-c", RESTORE, str(backup), str(board)],
            env={**os.environ, "BOARD_CRASH_AT": f"before-directory-change:{step}"},
            check=False,
        )
        if board.exists():
            assert list(faults(_copy(board, there / "killed"))) == []
            left = identity(file_of(there / "killed"))
            assert left == (old_id, 31) or (left[0] != old_id and left[1] == 1)
        if not killed.returncode:
            break
        assert killed.returncode == -9
        restore(backup, board, force=True)
        assert identity(board)[0] != old_id
        assert identity(board)[1] == 1
        asides = [path for path in board.parent.glob("*.replaced*") if "-" not in path.suffix]
        assert (old_id, 31) in [identity(aside) for aside in asides]
        assert not list(board.parent.glob("*.restoring*"))
    assert step > 6


def _copy(board, where):
    where.mkdir()
    for part in ("", "-wal", "-journal"):
        if Path(f"{board}{part}").exists():
            shutil.copy(f"{board}{part}", where)
    return file_of(where)


def test_a_cleanly_closed_board_stays_at_its_path_until_the_backup_replaces_it(crashed):
    served(crashed.board)  # its server closes it, which removes the log
    for step in range(1, 6):
        killed = subprocess.run(
            [sys.executable, "-c", RESTORE, str(crashed.backup), str(crashed.board)],
            env={**os.environ, "BOARD_CRASH_AT": f"before-directory-change:{step}"},
            check=False,
        )
        assert crashed.board.exists()
        if not killed.returncode:
            break
    assert step == 5


def test_an_interrupted_restore_is_found_by_the_doctor(crashed):
    subprocess.run(
        [sys.executable, "-c", RESTORE, str(crashed.backup), str(crashed.board)],
        env={**os.environ, "BOARD_CRASH_AT": "before-directory-change:3"},
        check=False,
    )
    advice = [(what, result) for what, result in examine(crashed.board) if result]
    assert any("still the board itself" in what and "repeat" in result for what, result in advice)
    assert any("restoring was left behind" in what for what, _ in advice)


def test_the_boards_files_are_put_aside_with_one_name(crashed):
    taken = crashed.board.with_name(f"{crashed.board.name}.replaced-wal")
    taken.write_bytes(b"the log of another one")
    _, aside = restore(crashed.backup, crashed.board, force=True)
    assert aside.name == f"{crashed.board.name}.replaced.2"
    assert identity(aside)[1] == 31
    assert taken.read_bytes() == b"the log of another one"


def test_a_restored_board_has_the_mode_of_the_one_before(crashed):
    crashed.board.chmod(0o640)
    restore(crashed.backup, crashed.board, force=True)
    assert stat.S_IMODE(crashed.board.stat().st_mode) == 0o640
    other = file_of(crashed.board.parent, "other")
    restore(crashed.backup, other)
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_a_symbolic_link_is_not_restored_over(crashed):
    linked = file_of(crashed.board.parent, "linked")
    linked.symlink_to(crashed.board)
    with pytest.raises(MaintenanceError, match="symbolic link"):
        restore(crashed.backup, linked, force=True)
    assert linked.is_symlink()
    assert identity(crashed.board)[1] == 31


def test_a_restore_that_the_disk_refuses_leaves_the_board_before(crashed):
    before = apsw.vfs_names()[0]
    disk = FailingDisk()
    try:
        with disk.fails("write", error=error(apsw.FullError)), pytest.raises(MaintenanceError):
            restore(crashed.backup, crashed.board, force=True)
    finally:
        apsw.set_default_vfs(before)
        disk.unregister()
    assert not list(crashed.board.parent.glob("*.re*"))
    assert identity(crashed.board)[1] == 31


def test_a_restore_that_the_disk_refuses_at_any_step_is_completed_by_another(
    left_by_a_crash, tmp_path, monkeypatch
):
    old_id, step, refusal = None, 0, "none yet"
    while refusal:
        step += 1
        there = tmp_path / f"{step}"
        shutil.copytree(left_by_a_crash, there)
        board, backup = file_of(there / "boards"), there / "backup"
        old_id = old_id or identity(_copy(board, there / "old"))[0]
        with monkeypatch.context() as patched:
            full = _full_at(step)
            patched.setattr(aside, "failpoint", full)
            patched.setattr(atomic, "failpoint", full)
            refusal = _refusal(backup, board)
        if refusal:
            assert refusal.startswith(f"{board} could not be replaced: No space left")
            restore(backup, board, force=True)
        assert identity(board)[1] == 1
        set_aside = [path for path in board.parent.glob("*.replaced*") if "-" not in path.suffix]
        assert (old_id, 31) in [identity(path) for path in set_aside]
    assert step > 6


def _refusal(backup, board):
    try:
        restore(backup, board, force=True)
    except MaintenanceError as refused:
        return str(refused)
    return ""


def _full_at(step):
    steps = count(1)

    def failpoint(_):
        if next(steps) == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return failpoint


def test_the_doctor_leaves_the_log_of_a_board_as_it_is(crashed):
    log = crashed.board.with_name(f"{crashed.board.name}-wal")
    before = crashed.board.read_bytes(), log.read_bytes()
    assert not [result for _, result in examine(crashed.board) if result]
    assert (crashed.board.read_bytes(), log.read_bytes()) == before
