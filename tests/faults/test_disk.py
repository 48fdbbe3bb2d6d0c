"""The disk is full, broken or read-only: nothing is half written, and the board recovers."""

import asyncio
import logging
import os
import shutil
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from board_client import BoardClient
from board_client import StoreFull as ClientStoreFull
from board_server.errors import StoreFull, StoreUnavailable
from board_server.model import (
    Change,
    ContractDraft,
    ContractKind,
    OnExpiry,
    PhaseChange,
    PhaseState,
)
from board_server.sqlite import SqliteStore
from board_server.sqlite.group_commit import GroupCommit
from board_server.sqlite.maintenance.backup import back_up
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from board_server.sqlite.maintenance.restore import restore
from tests.conformance.backend import key_of
from tests.faults.disk import FailingDisk, error
from tests.faults.program import assert_sound
from tests.support.servers import server_thread

BOARD = "nebula"

FULL = ("write",), error(apsw.FullError), StoreFull
BROKEN_SYNC = ("sync",), error(apsw.IOError, apsw.SQLITE_IOERR_FSYNC), StoreUnavailable
BROKEN_WRITE = ("write",), error(apsw.IOError, apsw.SQLITE_IOERR_WRITE), StoreUnavailable
READ_ONLY = ("write",), error(apsw.ReadOnlyError), StoreUnavailable
FAILURES = {
    "full": FULL,
    "no sync": BROKEN_SYNC,
    "no write": BROKEN_WRITE,
    "read-only": READ_ONLY,
}


@pytest.fixture
def disk():
    before = apsw.vfs_names()[0]
    disk = FailingDisk()
    yield disk
    apsw.set_default_vfs(before)
    disk.unregister()


@pytest.fixture
async def store(tmp_path, disk):  # noqa: ARG001  it is the disk that files are on from then
    store = SqliteStore(tmp_path)
    await store.open_board(BOARD)
    await store.set_phase_state(BOARD, PhaseChange("a", PhaseState.QUEUED))
    yield store
    await store.close()
    assert_sound(tmp_path, BOARD)


def running(phase_id="a"):
    return PhaseChange(phase_id, PhaseState.RUNNING)


def draft(name, signature=""):
    return ContractDraft("a", ContractKind.TYPE, name, signature, "")


class Heard:
    needed = True

    def __init__(self):
        self.commits = asyncio.Queue()

    def committed(self, commit):
        self.commits.put_nowait(commit)

    def ended(self, error):
        pass


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_write_that_the_disk_refuses_changes_nothing_and_the_next_one_succeeds(
    store, disk, failure
):
    operations, raised, expected = FAILURES[failure]
    before = await store.get_snapshot(BOARD)
    heard = Heard()
    await store.follow(BOARD, heard)
    with disk.fails(*operations, error=raised):
        with pytest.raises(expected):
            await store.set_phase_state(BOARD, running())
        assert await store.get_snapshot(BOARD) == before
        assert (await store.get_phase_state(BOARD, "a")).state is PhaseState.QUEUED
    assert (await store.set_phase_state(BOARD, running())).revision == before.revision + 1
    assert (await heard.commits.get()).revision == before.revision + 1
    assert heard.commits.empty()


@pytest.mark.parametrize("failure", FAILURES)
async def test_all_the_calls_of_a_commit_that_fails_fail(store, disk, failure):
    operations, raised, expected = FAILURES[failure]
    before = await store.get_snapshot(BOARD)
    with disk.fails(*operations, error=raised):
        calls = [store.set_phase_state(BOARD, running(f"{n}")) for n in range(20)]
        calls.append(store.publish_contracts(BOARD, [draft(f"{n}") for n in range(50)]))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {expected}
    assert await store.get_snapshot(BOARD) == before


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_write_that_was_refused_does_not_come_back_after_a_crash(
    store, disk, tmp_path, failure
):
    operations, raised, expected = FAILURES[failure]
    disk.failing.update(dict.fromkeys(operations, raised))
    with pytest.raises(expected):
        await store.set_phase_state(BOARD, running())
    disk.failing.clear()
    crashed = tmp_path / "as the crash leaves it"
    crashed.mkdir()
    for file in tmp_path.glob(f"{BOARD}.board.db*"):
        if not file.name.endswith(("-shm", ".lock")):
            shutil.copy(file, crashed)
    after = SqliteStore(crashed)
    assert (await after.get_phase_state(BOARD, "a")).state is PhaseState.QUEUED
    await after.close()
    assert_sound(crashed, BOARD)


async def test_a_write_that_was_refused_does_not_come_back_when_the_board_is_reopened(
    store, disk, tmp_path, monkeypatch
):
    # The commit is in the log when its sync fails, and nothing can overwrite it then.
    overwrite = GroupCommit.overwrite_refused
    monkeypatch.setattr(GroupCommit, "overwrite_refused", lambda _: None)
    with disk.fails("sync", error=BROKEN_SYNC[1]), pytest.raises(StoreUnavailable):
        await store.set_phase_state(BOARD, running())
    monkeypatch.setattr(GroupCommit, "overwrite_refused", overwrite)
    # Closing cannot sync either, so the log stays beside the board.
    with disk.fails("sync", error=BROKEN_SYNC[1]):
        await store.close()
    after = SqliteStore(tmp_path)
    assert (await after.get_phase_state(BOARD, "a")).state is PhaseState.QUEUED
    await after.close()
    assert_sound(tmp_path, BOARD)


async def test_a_refused_write_can_be_repeated_with_its_key(store, disk):
    with disk.fails("sync", error=BROKEN_SYNC[1]), pytest.raises(StoreUnavailable):
        await store.set_phase_state(BOARD, running(), key_of("request"))
    first = await store.set_phase_state(BOARD, running(), key_of("request"))
    assert await store.set_phase_state(BOARD, running(), key_of("request")) == first


async def test_a_session_that_ends_while_the_disk_is_full_ends_when_there_is_room(store, disk):
    heard = Heard()
    session, _ = await store.open_session(BOARD, "w", timedelta(milliseconds=20), OnExpiry.REQUEUE)
    await store.claim_file(BOARD, "x.go", "a", session.session_id)
    await store.follow(BOARD, heard)
    refused = asyncio.Event()
    disk.fail, fail = (lambda operation: (refused.set(), fail(operation))), disk.fail
    with disk.fails("write", error=FULL[1]):
        await asyncio.wait_for(refused.wait(), 60)
    commit = await asyncio.wait_for(heard.commits.get(), 60)
    assert [event.change for event in commit.events] == [Change.RELEASED, Change.SESSION_ENDED]


async def test_the_log_says_once_why_writes_fail_and_once_that_they_work_again(
    store, disk, tmp_path, caplog
):
    with disk.fails("write", error=FULL[1]):
        for _ in range(5):
            with pytest.raises(StoreFull):
                await store.set_phase_state(BOARD, running())
    await store.set_phase_state(BOARD, running())
    why, over = caplog.records
    assert (why.levelno, over.levelno) == (logging.ERROR, logging.WARNING)
    path = str(tmp_path / f"{BOARD}.board.db")
    assert path in why.getMessage()
    assert "disk is full" in why.getMessage()
    assert "bytes left" in why.getMessage()
    assert over.getMessage() == f"writes to {path} succeed again"


async def test_the_error_names_the_file_and_what_sqlite_says(store, disk, tmp_path):
    with disk.fails("sync", error=BROKEN_SYNC[1]), pytest.raises(StoreUnavailable) as refused:
        await store.set_phase_state(BOARD, running())
    assert refused.value.where == str(tmp_path / f"{BOARD}.board.db")
    assert str(tmp_path) not in str(refused.value)
    assert "SQLITE_IOERR_FSYNC" in str(refused.value)


@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_a_board_that_could_not_be_made_can_be_made_once_there_is_room(
    tmp_path, disk, operation
):
    store = SqliteStore(tmp_path)
    with disk.fails(operation, error=FULL[1]), pytest.raises(StoreFull):
        await store.open_board(BOARD)
    assert (await store.open_board(BOARD)).revision == 0
    await store.close()


@pytest.mark.parametrize("good", range(8))
async def test_a_board_can_be_opened_later_wherever_the_disk_failed_while_opening_it(
    tmp_path, disk, monkeypatch, good
):
    """Even if closing its files fails too, which used to keep its lock."""
    left = good

    def fail(operation):
        nonlocal left
        left -= operation == "sync"
        if left < 0:
            raise FULL[1]

    store = SqliteStore(tmp_path)
    with monkeypatch.context() as failing, suppress(StoreFull):
        failing.setattr(disk, "fail", fail)
        await store.open_board(BOARD)
    assert (await store.open_board(BOARD)).revision == 0
    await store.close()


def test_a_full_disk_is_reported_to_the_caller(tmp_path, disk):
    with server_thread(tmp_path, board=BOARD) as address, BoardClient(address) as client:
        client.set_phase_state("a", "queued")
        with disk.fails("write", error=FULL[1]), pytest.raises(ClientStoreFull):
            client.set_phase_state("a", "running")
        assert client.get_phase_state("a") == "queued"
        assert client.set_phase_state("a", "running").state == "running"


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of a megabyte and a half."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(mounted)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system; the failing disk above stands in for it")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def remount(directory: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(directory)], check=True)


async def fill(store):
    """Publish until there is no room; return how many contracts there are."""
    for number in range(10_000):
        try:
            await store.publish_contract(BOARD, draft(f"{number}", "x" * 4096))
        except StoreFull:
            return number
    pytest.fail("the disk is not small")


async def test_a_real_full_disk_is_reported_and_writes_succeed_once_there_is_room(small_disk):
    store = SqliteStore(small_disk)
    await store.open_board(BOARD)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 400_000)
    published = await fill(store)
    assert published > 10
    snapshot = await store.get_snapshot(BOARD)
    assert (len(snapshot.contracts), snapshot.revision) == (published, published)
    ballast.unlink()
    assert (await store.publish_contract(BOARD, draft("more"))).revision == published + 1
    await store.close()
    assert_sound(small_disk, BOARD)


def fill_up(ballast):
    with ballast.open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()


async def test_a_board_on_a_disk_that_is_really_full_opens_once_there_is_room(small_disk):
    ballast = small_disk / "ballast"
    store = SqliteStore(small_disk)
    with pytest.raises(OSError, match="No space"):
        fill_up(ballast)
    with pytest.raises(StoreFull):
        await store.open_board(BOARD)
    ballast.unlink()
    assert (await store.open_board(BOARD)).revision == 0
    await store.close()


async def test_a_backup_that_does_not_fit_on_the_disk_is_refused_and_leaves_no_file(
    small_disk, tmp_path
):
    store = SqliteStore(tmp_path / "boards")
    await store.open_board(BOARD)
    large = [draft(f"{number}", "x" * 100_000) for number in range(20)]
    await store.publish_contracts(BOARD, large)
    await store.close()
    board = tmp_path / "boards" / f"{BOARD}.board.db"
    with pytest.raises(MaintenanceError, match=r"no room: .* bytes are needed, .* are left"):
        back_up(board, small_disk / "backup")
    assert list(small_disk.iterdir()) == []
    back_up(board, tmp_path / "backup")
    with pytest.raises(MaintenanceError, match="no room"):
        restore(tmp_path / "backup", small_disk / f"{BOARD}.board.db")
    assert [path.name for path in small_disk.iterdir()] == [f"{BOARD}.board.db.lock"]


async def test_a_board_on_a_read_only_disk_opens_once_it_may_be_written(small_disk):
    store = SqliteStore(small_disk)
    remount(small_disk, "ro")
    with pytest.raises(StoreUnavailable, match="Read-only"):
        await store.open_board(BOARD)
    remount(small_disk, "rw")
    assert (await store.open_board(BOARD)).revision == 0
    await store.close()
