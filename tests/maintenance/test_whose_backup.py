"""A backup replaces no other board's backup, and all boards can be backed up at once."""

import os
import shutil
import signal
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from board_client import BoardClient
from board_server.sqlite import connection as connecting
from board_server.sqlite.maintenance import __main__ as commands
from board_server.sqlite.maintenance import backup as backing_up
from board_server.sqlite.maintenance.backup import back_up
from board_server.sqlite.maintenance.doctor import faults
from board_server.sqlite.maintenance.exclusive import MaintenanceError
from board_server.sqlite.maintenance.restore import restore
from tests.maintenance.test_backup import BOARD, file_of, spoiled
from tests.support.servers import server_thread


@pytest.fixture
def boards(tmp_path):
    """A directory with two boards, `nebula` at revision 1 and `other` at 2."""
    directory = tmp_path / "boards"
    with server_thread(directory, board=BOARD) as address, BoardClient(address) as client:
        client.set_phase_state("a", "queued")
        client.with_options(board="other").open_board()
        client.with_options(board="other").set_phase_state("b", "queued")
        client.with_options(board="other").set_phase_state("b", "done")
    return directory


def states(file):
    with closing(apsw.Connection(str(file))) as db:
        return dict(db.execute("SELECT task_id, state FROM board").fetchall())


def test_a_backup_of_another_board_is_not_replaced_without_force(boards, tmp_path):
    copy = tmp_path / "copy"
    back_up(file_of(boards, "other"), copy)
    with pytest.raises(MaintenanceError, match=r"backup of board other, revision 2; .*--force"):
        back_up(file_of(boards), copy)
    assert states(copy) == {"b": "done"}
    assert back_up(file_of(boards), copy, force=True) == 1
    assert states(copy) == {"a": "queued"}


def test_a_new_board_does_not_replace_the_backup_of_the_deleted_one(boards, tmp_path):
    copy = tmp_path / "copy"
    back_up(file_of(boards), copy)
    file_of(boards).unlink()
    with (
        server_thread(boards, board=BOARD),
        pytest.raises(MaintenanceError, match="an earlier board nebula"),
    ):
        back_up(file_of(boards), copy)
    assert states(copy) == {"a": "queued"}


def test_a_restored_board_replaces_the_backup_that_it_was_made_of(boards, tmp_path):
    copy = tmp_path / "copy"
    back_up(file_of(boards), copy)
    for _ in range(2):
        restore(copy, file_of(boards), force=True)
        assert back_up(file_of(boards), copy) == 1
        assert list(faults(copy)) == []


def test_a_board_restored_under_another_name_does_not_replace_the_backup(boards, tmp_path):
    copy = tmp_path / "copy"
    back_up(file_of(boards), copy)
    restore(copy, file_of(boards, "trial"))
    with pytest.raises(MaintenanceError, match="backup of board nebula"):
        back_up(file_of(boards, "trial"), copy)


def test_a_backup_of_an_earlier_version_is_identified_by_its_board_id(boards, tmp_path):
    copies = [tmp_path / "mine", tmp_path / "others"]
    for copy, board in zip(copies, [BOARD, "other"], strict=True):
        back_up(file_of(boards, board), copy)
        with closing(apsw.Connection(str(copy))) as db:
            db.execute("DROP TABLE backups")
    back_up(file_of(boards), copies[0])
    with pytest.raises(MaintenanceError, match="backup of another board, revision 2"):
        back_up(file_of(boards), copies[1])


def test_a_copy_is_verified_before_anything_is_written_to_it(boards, tmp_path, monkeypatch):
    verified = []

    def noted(copy):
        with closing(apsw.Connection(str(copy))) as db:
            verified.append(db.table_exists(None, "backups"))
        return faults(copy)

    monkeypatch.setattr(backing_up, "faults", noted)
    back_up(file_of(boards), tmp_path / "copy")
    assert verified == [False]


def test_all_boards_of_a_directory_are_backed_up(boards, command, tmp_path):
    into = tmp_path / "into"
    into.mkdir()
    for _ in range(2):
        made = command("backup", "--all", into, "--dir", boards)
        assert (made.code, made.err) == (0, "")
        assert made.out.splitlines() == [
            f"{into}/nebula.backup: board nebula, revision 1, verified",
            f"{into}/other.backup: board other, revision 2, verified",
        ]
    assert sorted(path.name for path in into.iterdir()) == ["nebula.backup", "other.backup"]


def test_a_board_that_cannot_be_backed_up_does_not_prevent_the_backup_of_others(
    boards, command, tmp_path
):
    into = tmp_path / "into"
    into.mkdir()
    shutil.copy(spoiled(tmp_path / "more"), file_of(boards, "m-spoiled"))
    file_of(boards, "a-lost").symlink_to(tmp_path / "nowhere")
    made = command("backup", "--all", into, "--dir", boards)
    assert made.code == 1
    assert [line.split(":")[0] for line in made.out.splitlines()] == [
        f"{into}/nebula.backup",
        f"{into}/other.backup",
    ]
    lost, broken = made.err.splitlines()
    assert lost.startswith("board: a-lost: ")
    assert broken.startswith("board: m-spoiled: the copy is not sound")
    assert sorted(path.name for path in into.iterdir()) == ["nebula.backup", "other.backup"]


def test_a_backup_needs_exactly_one_destination(boards, command, tmp_path):
    for arguments in ([], ["copy", "--all", tmp_path]):
        assert command("backup", *arguments, "--dir", boards).code == 2
    assert command("backup", "--all", tmp_path / "none", "--dir", boards).code == 1
    assert command("backup", "--all", tmp_path, "--dir", tmp_path).code == 1


def test_the_commands_find_the_boards_where_the_server_has_them(boards, command, tmp_path):
    copy, settings = tmp_path / "copy", tmp_path / "board.toml"
    made = command("backup", copy, BOARD_SERVE_DIRECTORY=str(boards), BOARD_SERVE_BOARD="other")
    assert made.out == f"{copy}: board other, revision 2, verified\n"
    settings.write_text(f'directory = "{boards}"\nboard = "nebula"\nlisten = ["127.0.0.1:0"]\n')
    result = command("doctor", "--config", settings)
    assert (result.code, result.out.count(".board.db\n")) == (0, 2)
    result = command("compact", BOARD_SERVE_CONFIG=str(settings))
    assert result.out.startswith(f"{file_of(boards)}: ")
    result = command("doctor", "--dir", tmp_path, BOARD_SERVE_CONFIG=str(settings))
    assert result.err == f"board: {tmp_path}: there is no board\n"
    result = command("doctor", BOARD_SERVE_DIRECTORY="")
    assert (result.code, '"BOARD_SERVE_DIRECTORY" is empty' in result.err) == (1, True)
    settings.write_text("directories = 1\n")
    result = command("doctor", "--config", settings)
    assert (result.code, 'key "directories"' in result.err) == (1, True)


@pytest.mark.parametrize("made_by", [os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_a_backup_replaces_nothing_but_a_regular_file(boards, tmp_path, made_by):
    place = tmp_path / "place"
    made_by(place)
    before = place.lstat()
    with pytest.raises(MaintenanceError):
        back_up(file_of(boards), place, force=True)
    assert os.path.samestat(place.lstat(), before)


def test_a_file_with_the_name_of_an_unfinished_backup_is_not_overwritten(boards, tmp_path):
    theirs = tmp_path / "copy.partial"
    theirs.write_text("somebody's")
    with pytest.raises(MaintenanceError, match="in the way"):
        back_up(file_of(boards), tmp_path / "copy")
    assert theirs.read_text() == "somebody's"
    theirs.unlink()
    theirs.symlink_to(file_of(boards))
    with pytest.raises(MaintenanceError, match="cannot create"):
        back_up(file_of(boards), tmp_path / "copy")
    assert states(file_of(boards)) == {"a": "queued"}


def test_the_file_of_an_interrupted_backup_is_reused_by_the_next(boards, tmp_path):
    shutil.copy(file_of(boards, "other"), tmp_path / "copy.partial")
    back_up(file_of(boards), tmp_path / "copy")
    assert states(tmp_path / "copy") == {"a": "queued"}
    assert not (tmp_path / "copy.partial").exists()


def test_two_backups_to_one_file_do_not_mix(boards, tmp_path):
    refused = []

    def meanwhile(*_):
        with pytest.raises(MaintenanceError, match="being written by another command") as error:
            back_up(file_of(boards), tmp_path / "copy")
        refused.append(error)

    back_up(file_of(boards), tmp_path / "copy", meanwhile)
    assert refused
    assert list(faults(tmp_path / "copy")) == []


def test_a_terminated_backup_leaves_nothing(boards, command, tmp_path, monkeypatch):
    @contextmanager
    def terminated(_):
        yield lambda *_: os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(commands, "_bar", terminated)
    ended = command("backup", tmp_path / "copy", "--dir", boards, "--board", BOARD)
    assert ended.code == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("copy*"))


def test_a_board_that_is_deleted_while_it_is_copied_is_backed_up_as_it_was(boards, tmp_path):
    def delete(*_):
        for part in boards.glob(f"{BOARD}.board.db*"):
            part.unlink()

    assert back_up(file_of(boards), tmp_path / "copy", delete) == 1
    assert list(faults(tmp_path / "copy")) == []
    with pytest.raises(MaintenanceError, match="does not exist"):
        back_up(file_of(boards), tmp_path / "copy")


def test_a_board_that_is_replaced_while_it_is_opened_is_not_read_with_the_others_log(
    boards, tmp_path, monkeypatch
):
    connect = connecting.connect

    def replaced_meanwhile(path: Path, *, create: bool = False):
        opened = connect(path, create=create)
        shutil.copy(file_of(boards, "other"), tmp_path / "new")
        (tmp_path / "new").rename(path)
        return opened

    monkeypatch.setattr(connecting, "connect", replaced_meanwhile)
    with pytest.raises(MaintenanceError, match="replaced while it was opened"):
        back_up(file_of(boards), tmp_path / "copy")
