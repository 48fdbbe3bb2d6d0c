"""A board is backed up while it is served, and restored."""

import os
import stat
import subprocess
import sys
import threading
from contextlib import closing

import apsw
import pytest

from board_client import BoardClient, BoardReplaced, Contract, Snapshot
from board_server.sqlite.maintenance.backup import back_up
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from board_server.sqlite.maintenance.restore import restore
from tests.faults.program import Program, assert_sound
from tests.support.servers import server_thread

BOARD = "nebula"


def file_of(directory, board=BOARD):
    return directory / f"{board}.board.db"


def keep(*arguments, **environment):
    command = [sys.executable, "-m", "board_server.sqlite.maintenance", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def served(tmp_path):
    """A board with some records, which a server has open."""
    directory = tmp_path / "boards"
    with server_thread(directory, board=BOARD) as address, BoardClient(address) as client:
        client.set_phase_state("a", "running", worker="w")
        client.publish_contract(Contract("a", "type", "T", signature="type T struct{}"))
        client.claim_file("x.go", "a")
        yield client


def events_of(file, upto):
    with closing(apsw.Connection(str(file))) as db:
        query = "SELECT * FROM events WHERE revision <= ? ORDER BY revision, position"
        return list(db.execute(query, (upto,)))


def test_a_backup_taken_under_load_is_the_board_at_a_revision_that_existed(tmp_path, served):
    over = threading.Event()

    def write(owner):
        for number in range(100_000):
            if over.is_set():
                return
            served.claim_files([f"{owner}/{number}/{part}" for part in "abc"], owner)
            contracts = [
                Contract(owner, "type", f"{n}", signature=f"{number}" * 100) for n in range(20)
            ]
            served.complete_phase(owner, "done", contracts)

    writers = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(3)]
    for writer in writers:
        writer.start()
    live = file_of(tmp_path / "boards")
    copies = []
    for number in range(4):
        before = served.get_snapshot().revision
        copy = tmp_path / f"{number}.backup"
        revision = back_up(live, copy)
        assert before <= revision <= served.get_snapshot().revision
        copies.append((copy, revision))
    over.set()
    for writer in writers:
        writer.join()
    for copy, revision in copies:
        assert list(faults(copy)) == []
        assert events_of(copy, 10**9) == events_of(live, revision)
        restored = tmp_path / f"restored-{revision}"
        assert restore(copy, file_of(restored)) == (revision, None)
        with server_thread(restored, board=BOARD) as address, BoardClient(address) as client:
            assert client.get_snapshot().revision == revision
        assert_sound(restored, BOARD)


@pytest.mark.usefixtures("served")
def test_a_backup_reports_its_progress(tmp_path):
    result = []
    back_up(file_of(tmp_path / "boards"), tmp_path / "b", lambda *far: result.append(far))
    done, total = result[-1]
    assert done == total > 0


def test_a_backup_replaces_an_older_one_and_leaves_no_other_file(tmp_path, served):
    there = tmp_path / "backups"
    there.mkdir()
    for _ in range(2):
        served.set_phase_state("a", "done")
        revision = back_up(file_of(tmp_path / "boards"), there / "b")
    assert revision == served.get_snapshot().revision
    assert [file.name for file in there.iterdir()] == ["b"]


def test_a_damaged_board_does_not_replace_a_good_backup(tmp_path):
    copy = tmp_path / "backup"
    board = spoiled(tmp_path / "boards", before=lambda board: back_up(board, copy))
    good = copy.read_bytes()
    with pytest.raises(MaintenanceError, match="not sound"):
        back_up(board, copy)
    assert copy.read_bytes() == good


def test_a_backup_replaces_only_a_backup(tmp_path, served):
    directory = tmp_path / "boards"
    served.with_options(board="other").open_board()
    notes, tokens = tmp_path / "notes.txt", tmp_path / "tokens.toml"
    for file in (notes, tokens):
        file.write_text("not to be lost")
    places = [notes, tokens, directory, tmp_path / "nowhere" / "backup", directory / ".."]
    places += [file_of(directory), file_of(directory, "other"), file_of(directory, "new")]
    for place in places:
        with pytest.raises(MaintenanceError):
            back_up(file_of(directory), place)
    assert {file.read_text() for file in (notes, tokens)} == {"not to be lost"}
    assert served.get_phase_state("a") == "running"
    assert not file_of(directory, "new").exists()


def spoiled(directory, before=lambda _: None):
    """A board whose tables another program has changed."""
    with server_thread(directory, board=BOARD) as address, BoardClient(address) as client:
        client.claim_file("x.go", "a")
        before(file_of(directory))
    with closing(apsw.Connection(str(file_of(directory)))) as db:
        db.execute("UPDATE file_claims SET owner_task = 'b'")
    return file_of(directory)


@pytest.mark.usefixtures("served")
def test_a_board_is_not_restored_while_it_is_served(tmp_path):
    copy = tmp_path / "backup"
    board = file_of(tmp_path / "boards")
    back_up(board, copy)
    with pytest.raises(MaintenanceError, match=r"is served by process \d+"):
        restore(copy, board, force=True)


def test_an_existing_board_is_not_replaced_without_force(tmp_path):
    directory = tmp_path / "boards"
    with server_thread(directory, board=BOARD):
        back_up(file_of(directory), tmp_path / "backup")
    with pytest.raises(MaintenanceError, match="--force"):
        restore(tmp_path / "backup", file_of(directory))


def test_a_file_that_is_not_a_backup_is_not_restored(tmp_path):
    (tmp_path / "backup").write_text("no board at all, but long enough to be mistaken" * 100)
    with pytest.raises(MaintenanceError, match="not a sound backup"):
        restore(tmp_path / "backup", file_of(tmp_path))
    assert not file_of(tmp_path).exists()


def test_a_restored_board_is_another_and_its_watches_end(tmp_path):
    directory = tmp_path / "boards"
    board = file_of(directory)
    with Program(directory, "--board", BOARD) as server, BoardClient(server.address) as client:
        server.start()
        client.set_phase_state("a", "queued")
        back_up(board, tmp_path / "backup")
        client.set_phase_state("a", "done")
        watch = client.watch()
        everything = client.watch_from_snapshot()
        assert next(everything).phases[0].state == "done"
        server.stop()
        _, aside = restore(tmp_path / "backup", board, force=True)
        server.start()
        with pytest.raises(BoardReplaced):
            next(watch)
        again = next(everything)
        assert isinstance(again, Snapshot)
        assert again.phases[0].state == "queued"
        client.set_phase_state("a", "running")
        assert next(everything).record.state == "running"
        everything.close()
    with closing(apsw.Connection(str(aside))) as db:
        assert db.execute("SELECT state FROM board").get == "done"


def test_a_board_with_a_log_left_by_a_crash_is_renamed_with_its_log(tmp_path):
    directory = tmp_path / "boards"
    with Program(directory, "--board", BOARD) as server, BoardClient(server.address) as client:
        server.start()
        back_up(file_of(directory), tmp_path / "backup")
        client.set_phase_state("a", "done")
        server.kill()
    _, aside = restore(tmp_path / "backup", file_of(directory), force=True)
    assert_sound(directory, BOARD)
    with closing(apsw.Connection(str(aside))) as db:
        assert db.execute("SELECT state FROM board").get == "done"


@pytest.mark.usefixtures("served")
def test_a_backup_replaces_a_damaged_one(tmp_path):
    board, copy = file_of(tmp_path / "boards"), tmp_path / "backup"
    back_up(board, copy)
    copy.write_bytes(copy.read_bytes()[:5000])
    back_up(board, copy)
    assert list(faults(copy)) == []


@pytest.mark.usefixtures("served")
def test_a_database_of_something_else_is_not_replaced(tmp_path):
    copy = tmp_path / "accounts.sqlite"
    with closing(apsw.Connection(str(copy))) as db:
        db.execute("CREATE TABLE accounts (id)")
    with pytest.raises(MaintenanceError, match="is not a backup"):
        back_up(file_of(tmp_path / "boards"), copy)


def test_renamed_boards_are_kept_however_often_a_board_is_restored(tmp_path):
    directory, copy = tmp_path / "boards", tmp_path / "backup"
    with server_thread(directory, board=BOARD) as address, BoardClient(address) as client:
        back_up(file_of(directory), copy)
        client.set_phase_state("a", "done")
    _, first = restore(copy, file_of(directory), force=True)
    _, second = restore(copy, file_of(directory), force=True)
    with closing(apsw.Connection(str(first))) as db:
        assert db.execute("SELECT state FROM board").get == "done"
    with closing(apsw.Connection(str(second))) as db:
        assert db.execute("SELECT count(*) FROM board").get == 0
    result = keep("doctor", "--dir", directory)
    assert (result.returncode, first.name in result.stdout, second.name in result.stdout) == (
        0,
        1,
        1,
    )


def test_an_empty_file_is_no_backup(tmp_path):
    copy = tmp_path / "backup"
    copy.touch()
    with pytest.raises(MaintenanceError, match="is empty"):
        restore(copy, file_of(tmp_path))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("served")
def test_a_backup_is_private_to_its_owner(tmp_path):
    copy = tmp_path / "backup"
    assert keep("backup", copy, "--dir", tmp_path / "boards", "--board", BOARD).returncode == 0
    assert mode(copy) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_board_that_root_restores_belongs_to_the_owner_of_the_boards(tmp_path):
    directory, copy = tmp_path / "boards", tmp_path / "backup"
    with server_thread(directory, board=BOARD):
        back_up(file_of(directory), copy)
    os.chown(directory, 12345, 23456)
    restore(copy, file_of(directory, "new"))
    made = [*directory.glob("new.*")]
    assert len(made) == 2  # the lock too
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12345, 23456)}


@pytest.mark.usefixtures("served")
def test_the_commands_back_up_a_served_board_and_restore_it_elsewhere(tmp_path):
    boards, copy = tmp_path / "boards", tmp_path / "backup"
    made = keep("backup", copy, "--dir", boards, "--board", BOARD)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == f"{copy}: board {BOARD}, revision 3, verified\n"
    elsewhere = tmp_path / "elsewhere"
    back = keep("restore", copy, "--dir", elsewhere, BOARD_NAME="other")
    assert back.stdout == f"{file_of(elsewhere, 'other')}: restored at revision 3\n"
    again = keep("restore", copy, "--dir", elsewhere, BOARD_NAME="other")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("board: ")
    assert "--force" in again.stderr


def test_the_command_says_which_board_it_did_not_find(tmp_path):
    made = keep("backup", tmp_path / "b", "--dir", tmp_path, "--board", "nobody")
    assert (made.returncode, made.stderr) == (
        1,
        f"board: {tmp_path}/nobody.board.db does not exist\n",
    )
