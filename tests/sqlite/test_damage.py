"""Another program damages the files of an open board: as little as possible is lost."""

import os
import shutil
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from board_server.errors import BoardReplaced, StoreUnavailable
from board_server.model import PhaseChange, PhaseState
from board_server.sqlite import SqliteStore
from board_server.sqlite.audit import differences
from tests.conformance.backend import BOARD
from tests.conformance.events import Listener


def change(number):
    return PhaseChange(f"p{number}", PhaseState.RUNNING)


async def write(store, start, stop, board=BOARD):
    for number in range(start, stop):
        await store.set_phase_state(board, change(number))


async def phases(store, board=BOARD):
    return {phase.phase_id for phase in (await store.get_snapshot(board)).phases}


def named(*ranges):
    return {f"p{number}" for each in ranges for number in each}


def beside(file, suffix):
    return Path(f"{file}{suffix}")


async def files_after_a_crash(directory, tmp_path):
    """Copy the files as they are now, for a server that starts after a crash."""
    shutil.copytree(directory, tmp_path / "crashed")
    store = SqliteStore(tmp_path / "crashed")
    found = await phases(store)
    await store.close()
    return found


def assert_sound(file):
    with closing(apsw.Connection(str(file))) as db:
        assert db.pragma("integrity_check") == "ok"
        assert list(differences(db)) == []


def opened(store):
    (found,) = store._registry.open_boards()
    return found


@pytest.fixture
async def follower(store):
    listener = Listener()
    await store.follow(BOARD, listener)
    return listener


@pytest.mark.parametrize("deleted", [["-wal"], ["-shm"], ["-wal", "-shm"]], ids=" ".join)
async def test_nothing_is_lost_if_the_write_ahead_log_is_deleted(
    store, follower, directory, file, tmp_path, deleted, caplog
):
    before = await store.get_board(BOARD)
    await write(store, 0, 10)
    for suffix in deleted:
        beside(file, suffix).unlink()
    await write(store, 10, 20)
    assert isinstance(follower.error, StoreUnavailable)  # its watchers resume
    assert await phases(store) == named(range(20))
    assert await files_after_a_crash(directory, tmp_path) == named(range(20))
    assert (await store.get_board(BOARD)).board_id == before.board_id
    assert "log" in caplog.text
    await store.close()
    assert_sound(file)


async def test_a_write_that_would_be_only_in_a_deleted_log_is_refused(store, file):
    await write(store, 0, 3)
    board = opened(store)
    beside(file, "-wal").unlink()
    with pytest.raises(StoreUnavailable, match="deleted"):  # as if the writer had it
        await board.write(lambda _: None)
    assert (await store.get_board(BOARD)).revision == 3


async def test_a_write_whose_log_is_deleted_meanwhile_is_in_the_database(
    store, directory, file, tmp_path
):
    await write(store, 0, 3)

    def work(tx):
        beside(file, "-wal").unlink()
        tx.db.execute("INSERT INTO board (task_id, state) VALUES ('p3', 'queued')")

    await opened(store).write(work)
    assert await files_after_a_crash(directory, tmp_path) == named(range(4))


async def a_board(directory, name, count):
    """Make another board; return its file."""
    store = SqliteStore(directory)
    await store.open_board(name)
    await write(store, 1000, 1000 + count, name)
    await store.close()
    return directory / f"{name}.board.db"


async def test_a_board_that_is_overwritten_is_not_mixed_with_the_one_before(
    store, follower, directory, file, tmp_path, caplog
):
    before = await store.get_board(BOARD)
    await write(store, 0, 10)
    other = await a_board(tmp_path / "other", "other", 7)
    file.write_bytes(other.read_bytes())
    assert await phases(store) == named(range(1000, 1007))
    assert isinstance(follower.error, BoardReplaced)
    assert (await store.get_board(BOARD)).board_id != before.board_id
    await write(store, 0, 3)
    await store.close()
    assert_sound(file)
    (aside,) = directory.glob("*.stray.*")
    assert str(aside) in caplog.text


def touched(file):
    os.utime(file, (0, 0))


def checkpointed(file):
    with closing(apsw.Connection(str(file))) as db:
        db.execute("SELECT revision FROM meta").fetchall()  # it opens the log
        in_log, moved = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
        assert in_log == moved > 0


def permitted(file):
    file.chmod(0o640)


async def test_an_older_copy_of_the_same_board_is_another_board(store, directory, file):
    await write(store, 0, 5)
    await store.close()
    copy = file.read_bytes()
    served = SqliteStore(directory)
    await write(served, 5, 10)
    checkpointed(file)
    before = await served.get_board(BOARD)
    file.write_bytes(copy)
    after = await served.get_board(BOARD)
    assert (after.revision, await phases(served)) == (5, named(range(5)))
    assert after.board_id != before.board_id
    await served.close()
    assert_sound(file)


@pytest.mark.parametrize("kept", [0, 0.5])
async def test_a_truncated_write_ahead_log_damages_nothing(store, follower, file, kept):
    before = await store.get_board(BOARD)
    await write(store, 0, 10)
    log = beside(file, "-wal")
    os.truncate(log, int(log.stat().st_size * kept))
    await write(store, 20, 25)
    assert isinstance(follower.error, BoardReplaced)
    assert named(range(20, 25)) <= await phases(store)
    assert (await store.get_board(BOARD)).board_id != before.board_id
    await store.close()
    assert_sound(file)


@pytest.mark.parametrize("do", [touched, checkpointed, permitted])
async def test_a_change_of_the_files_that_keeps_their_content_is_not_damage(
    store, follower, file, do
):
    for start in (0, 10):
        await write(store, start, start + 10)
        do(file)
        assert await phases(store) == named(range(start + 10))
    assert follower.error is None
