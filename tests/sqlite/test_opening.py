"""Opening a board file: its settings, which files are refused, and the lock."""

import asyncio
import os
import shutil
import socket
import sqlite3
import stat
import sys
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from board_server.errors import StoreUnavailable
from board_server.model import PageRequest, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore, open_board
from board_server.sqlite.connection import UnsafeSqlite
from board_server.sqlite.migrate import migrations
from tests.conformance.backend import BOARD, contents, fill, key_of
from tests.conformance.events import PATIENCE, Listener
from tests.support.spec_file import make_spec_file


@pytest.fixture
def connections(connection_hook):
    """Every connection that the store makes to read or write the board."""
    made = []
    connection_hook(lambda each: each.readonly("main") or made.append(each))
    return made


async def test_every_connection_is_in_wal_mode_and_waits_five_seconds(connections, store):
    await fill(store)
    assert len(connections) > 1
    for connection in connections:
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("busy_timeout") == 5000


async def test_the_writing_connection_syncs_every_commit(connections, store):  # noqa: ARG001
    assert connections[0].pragma("synchronous") == 2  # FULL
    assert connections[0].pragma("foreign_keys") == 1


async def test_synchronous_can_be_lowered_to_normal(connections, directory):
    store = SqliteStore(directory, synchronous="normal")
    await store.open_board(BOARD)
    assert connections[0].pragma("synchronous") == 1
    await store.close()


async def test_the_file_stays_in_wal_mode(store, file):
    await store.close()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_opening_a_file_again_changes_neither_schema_nor_rows(store, file, directory):
    await fill(store)
    before = await contents(store)
    await store.close()
    schema = "SELECT type, name, sql, user_version FROM sqlite_schema, pragma_user_version"
    with closing(sqlite3.connect(file)) as db:
        first = db.execute(schema).fetchall()
    again = SqliteStore(directory)
    assert await contents(again) == before
    await again.close()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute(schema).fetchall() == first


async def test_a_file_of_an_earlier_version_keeps_the_outcomes_of_its_idempotency_keys(
    unopened, file
):
    file.parent.mkdir(exist_ok=True)
    with closing(apsw.Connection(str(file))) as db:
        for script in migrations()[:3]:
            db.execute(script)
        db.execute("INSERT INTO meta VALUES (1, 'id', 7, '2026-02-23 05:03:45.000000', 7)")
        db.execute("INSERT INTO requests VALUES (5, 'a', '[\"int\", 2]'), (7, 'b', '[\"int\", 3]')")
        db.pragma("user_version", 3)
    for id_, answer in (("b", (3, 7)), ("a", (2, 5))):
        assert await unopened.release_claims(BOARD, "p", [], key_of(id_)) == answer
    assert (await unopened.release_claims(BOARD, "p", [], key_of("c"))).revision == 7


async def test_an_empty_file_becomes_a_board(unopened, file):
    file.touch()
    await fill_new(unopened)


async def fill_new(store):
    await store.open_board(BOARD)
    await fill(store)
    assert (await contents(store))[0] == 3


def not_a_database(file):
    file.write_bytes(b"# Notes on the board, which are no database at all.\n" * 100)


def short_text(file):
    file.write_bytes(b"hello")


def cut_off_database(file):
    make_spec_file(file)
    file.write_bytes(file.read_bytes()[:-5000])


def other_database(file):
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE recipes (name TEXT)")
        db.execute("INSERT INTO recipes VALUES ('soup')")


def other_table_called_board(file):
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE board (name TEXT)")


def newer_version(file):
    make_spec_file(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA user_version = 1000")


def directory_in_its_place(file):
    file.mkdir()


REFUSED = [
    (not_a_database, "not a board file"),
    (short_text, "not a board file"),
    (cut_off_database, "truncated"),
    (other_database, "not a board file"),
    (other_table_called_board, "not a board file"),
    (newer_version, "newer version"),
]


@pytest.mark.parametrize(("make", "why"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_file_that_is_not_a_board_is_refused_and_not_changed(unopened, file, make, why):
    make(file)
    before = file.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=why) as caught:
            await unopened.open_board(BOARD)
        assert caught.value.where == str(file)
        assert str(file.parent) not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir() if path.suffix != ".lock"] == [file.name]


async def test_a_directory_in_place_of_a_file_is_refused(unopened, file):
    directory_in_its_place(file)
    with pytest.raises(StoreUnavailable) as caught:
        await unopened.open_board(BOARD)
    assert caught.value.where == str(file)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
async def test_a_file_with_two_hard_links_is_not_served_twice(store, directory, file, link):
    link(directory / "b.board.db", file)
    with pytest.raises(StoreUnavailable, match="link") as caught:
        await store.open_board("b")
    assert caught.value.where == str(directory / "b.board.db")
    listed = (await store.list_boards(PageRequest(10))).items
    assert "b" not in [info.name for info in listed]
    await fill(store)


async def test_a_board_whose_file_was_moved_and_linked_is_no_longer_served(store, directory, file):
    file.rename(directory / "moved.board.db")
    file.symlink_to(directory / "moved.board.db")
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.RUNNING))


async def test_the_log_says_once_why_a_board_cannot_be_opened(unopened, file, caplog):
    not_a_database(file)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await unopened.open_board(BOARD)
    (record,) = caplog.records
    assert str(file) in record.getMessage()
    file.unlink()
    await unopened.open_board(BOARD)
    not_a_database(file.with_name("other.board.db"))
    with pytest.raises(StoreUnavailable):
        await unopened.open_board("other")
    assert "other.board.db" in caplog.text


async def test_a_file_that_is_not_a_board_does_not_fail_the_list(store, directory):
    not_a_database(directory / "notes.board.db")
    (directory / "folder.board.db").mkdir()
    other_database(directory / "recipes.board.db")
    listed = (await store.list_boards(PageRequest(10))).items
    assert [info.name for info in listed] == [BOARD]


@pytest.mark.parametrize("name", [b".board.db", b".x.board.db", b"a b.board.db", b"\xff.board.db"])
async def test_a_file_whose_name_no_board_can_have_is_not_listed(store, directory, file, name):
    await store.close()
    shutil.copy(file, directory / os.fsdecode(name))
    again = SqliteStore(directory)
    listed = (await again.list_boards(PageRequest(10))).items
    await again.close()
    assert [info.name for info in listed] == [BOARD]


async def test_a_refused_file_can_be_repaired_and_opened(unopened, file):
    not_a_database(file)
    with pytest.raises(StoreUnavailable):
        await unopened.open_board(BOARD)
    file.unlink()
    await fill_new(unopened)


async def test_a_directory_that_becomes_unreadable_makes_its_boards_unavailable(store, directory):
    set_state = PhaseChange("p", PhaseState.RUNNING)
    with unreadable(directory):
        for call in (
            lambda: store.set_phase_state(BOARD, set_state),
            lambda: store.get_phase_state(BOARD, "p"),
            lambda: store.list_boards(PageRequest(10)),
            lambda: store.list_boards(PageRequest(10), [BOARD]),
        ):
            with pytest.raises(StoreUnavailable, match="Permission denied") as caught:
                await call()
            assert caught.value.where.startswith(str(directory))
    await store.set_phase_state(BOARD, set_state)


async def test_followers_of_an_unreadable_board_get_its_storage_error(store, directory):
    listener = Listener()
    await store.follow(BOARD, listener)
    with unreadable(directory), pytest.raises(StoreUnavailable):
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.RUNNING))
    await listener.until(lambda: listener.error)
    assert isinstance(listener.error, StoreUnavailable)


@contextmanager
def unreadable(directory):
    """Deny the user of the tests access to a directory; root becomes another user for it."""
    user, mode = os.geteuid(), directory.stat().st_mode
    directory.chmod(0)
    os.seteuid(user or 12345)
    try:
        yield
    finally:
        os.seteuid(user)
        directory.chmod(mode)


def test_a_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "boards").touch()
    with pytest.raises(StoreUnavailable) as caught:
        SqliteStore(tmp_path / "boards")
    assert caught.value.where == str(tmp_path / "boards")


def test_an_sqlite_that_can_lose_commits_is_refused(monkeypatch, directory):
    monkeypatch.setattr(apsw, "SQLITE_VERSION_NUMBER", 3_051_002)
    with pytest.raises(UnsafeSqlite, match="apsw"):
        SqliteStore(directory)


async def test_a_second_store_is_refused_with_the_holder_of_the_file(store, directory):
    second = SqliteStore(directory)
    with pytest.raises(StoreUnavailable) as caught:
        await second.open_board(BOARD)
    await second.close()
    assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
    await fill_new(store)


async def test_a_second_process_is_refused_with_the_holder_of_the_file(store, directory):  # noqa: ARG001
    program = """if True:
        import asyncio, pathlib, sys
        from board_server.sqlite import SqliteStore
        asyncio.run(SqliteStore(pathlib.Path(sys.argv[1])).open_board(sys.argv[2]))
    """
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, directory, BOARD, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await second.communicate()
    assert second.returncode != 0
    assert f"process {os.getpid()}" in errors.decode().splitlines()[-1]


async def test_the_file_is_free_once_the_first_store_has_closed(store, directory):
    await fill(store)
    await store.close()
    second = SqliteStore(directory)
    assert (await second.open_board(BOARD)).revision == 3
    await second.close()


async def test_two_stores_can_serve_two_files_of_one_directory(store, directory):
    second = SqliteStore(directory)
    await second.open_board("other")
    await fill(second, "other")
    await second.close()
    await fill(store)
    listed = (await store.list_boards(PageRequest(10))).items
    assert [(info.name, info.revision) for info in listed] == [(BOARD, 3), ("other", 3)]


class SlowToOpen(SqliteStore):
    """Blocks the thread that creates its first board, until the test continues it."""

    def __init__(self, directory):
        super().__init__(directory, clock=self._clock)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def _clock(self):
        if not self.begun.is_set():
            self.begun.set()
            assert self.go_on.wait(PATIENCE)
        return datetime.now(UTC)

    async def begins_to_open(self):
        """Return a call that opens a board, when its file is being created."""
        opening = asyncio.ensure_future(self.open_board(BOARD))
        assert await asyncio.to_thread(self.begun.wait, PATIENCE)
        return opening


async def test_a_caller_that_cancels_leaves_no_board_half_open(directory):
    store = SlowToOpen(directory)
    opening = await store.begins_to_open()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    store.go_on.set()
    assert (await store.open_board(BOARD)).revision == 0
    await store.close()


async def test_a_board_that_is_slow_to_open_delays_no_other(directory):
    store = SlowToOpen(directory)
    slow = await store.begins_to_open()
    assert (await store.open_board("sound")).revision == 0
    assert not slow.done()
    store.go_on.set()
    assert (await slow).name == BOARD
    await store.close()


def once(fails):
    """A function that fails the first time."""
    failures = [RuntimeError("can't start new thread")]

    def do(*arguments):
        if failures:
            raise failures.pop()
        return fails(*arguments)

    return do


async def test_forty_boards_that_are_slow_to_open_delay_no_other(directory):
    slow, begun, go_on = iter(range(40)), threading.Semaphore(0), threading.Event()

    def clock():
        if next(slow, None) is not None:
            begun.release()
            assert go_on.wait(PATIENCE)
        return datetime.now(UTC)

    store = SqliteStore(directory, clock=clock)
    openings = [asyncio.ensure_future(store.open_board(f"slow-{number}")) for number in range(40)]
    try:
        for _ in openings:
            assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE / 2)
        await store.open_board(BOARD)
    finally:
        go_on.set()
        await asyncio.gather(*openings)
        await store.close()


async def test_a_failure_while_a_board_opens_leaves_it_unlocked(directory, monkeypatch):
    monkeypatch.setattr(open_board, "Writer", once(open_board.Writer))
    store = SqliteStore(directory)
    with pytest.raises(RuntimeError):
        await store.open_board(BOARD)
    assert (await store.open_board(BOARD)).revision == 0
    await store.close()


async def test_a_follower_whose_follow_failed_gets_no_commit(store, monkeypatch):
    await store.open_board(BOARD)
    listener = Listener()
    with monkeypatch.context() as broken:
        broken.setattr(open_board.OpenBoard, "info", once(open_board.OpenBoard.info))
        with pytest.raises(RuntimeError):
            await store.follow(BOARD, listener)
    await fill(store)
    assert listener.commits == []


async def test_a_directory_that_the_store_creates_is_private_to_its_owner(tmp_path):
    store = SqliteStore(tmp_path / "made")
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    await store.close()
