"""Archiving a board stores all of it, then removes all of it in one transaction."""

import json
import threading

import pytest

from board_client import (
    BoardClient,
    BoardReplaced,
    Contract,
    ContractPublished,
    DeadlineExceeded,
    FileFree,
    PhaseIn,
    RevisionMismatch,
    StoreFull,
    Unauthenticated,
    Unavailable,
)
from board_client import archive as archiving
from board_client.archive import archive
from tests.faults.program import assert_sound
from tests.support.servers import server_thread

BOARD = "nebula"


@pytest.fixture
def client(tmp_path):
    directory = tmp_path / "boards"
    with server_thread(directory, board=BOARD) as address, BoardClient(address, BOARD) as client:
        client.set_phase_state("a", "done", worker="w")
        client.set_phase_state("b", "running")
        client.publish_contracts(
            [Contract("a", "type", "T", signature="type T"), Contract("a", "file", "x")]
        )
        client.claim_file("x.go", "b")
        yield client
    assert_sound(directory, BOARD)


def test_an_archived_board_is_empty_and_its_archive_has_all_that_it_held(client, tmp_path):
    held = client.get_snapshot()
    gone = archive(client, tmp_path / "archive")
    assert (gone.phases, gone.contracts, gone.claims) == (2, 2, 1)
    after = client.get_snapshot()
    assert (after.phases, after.contracts, after.claims) == ([], [], [])
    assert after.revision == held.revision + 1
    first, *records = map(json.loads, (tmp_path / "archive").read_text().splitlines())
    assert first == {"board": {"name": BOARD, "id": held.board_id, "revision": held.revision}}
    assert [(kind, *record.values()) for line in records for kind, record in line.items()] == [
        *(("phase", *plain(p, "posted_at", "updated_at")) for p in held.phases),
        *(("contract", *plain(c, "created_at")) for c in held.contracts),
        *(("claim", *plain(c, "claimed_at")) for c in held.claims),
    ]


def plain(record, *times):
    return [
        getattr(record, name).isoformat() if name in times else getattr(record, name)
        for name in record.__slots__
    ]


def test_watchers_get_each_removal_and_its_cause(client):
    watch = client.watch()
    revision = client.get_snapshot().revision
    client.archive_board(revision)
    events = [next(watch) for _ in range(5)]
    watch.close()
    assert {(event.revision, event.cause) for event in events} == {(revision + 1, "archive")}
    assert [event.change for event in events] == [
        *("phase_removed", "phase_removed", "contract_removed", "contract_removed", "released")
    ]
    assert events[0].record.phase_id == "a"
    assert (events[2].record.name, events[2].record.signature) == ("T", "")


def test_a_wait_for_an_archived_contract_continues(client):
    # It is met now, and no longer once the board is empty.
    conditions = (PhaseIn("a", "done"), ContractPublished("T"), FileFree("x.go"))
    with pytest.raises(DeadlineExceeded):
        client.with_options(timeout=0.2).wait_for(*conditions)
    waiting = threading.Thread(target=lambda: met.append(client.wait_for(*conditions)))
    met = []
    waiting.start()
    client.archive_board(client.get_snapshot().revision)
    client.set_phase_state("a", "done", worker="new")
    client.publish_contract(Contract("a", "type", "T", signature="new"))
    waiting.join()
    assert [phase.worker for phase in met[0].phases] == ["new"]
    assert [contract.signature for contract in met[0].contracts] == ["new"]


def test_a_board_that_has_changed_since_is_not_archived(client):
    revision = client.get_snapshot().revision
    client.set_phase_state("c", "queued")
    with pytest.raises(RevisionMismatch) as refused:
        client.archive_board(revision)
    assert (refused.value.expected, refused.value.actual) == (revision, revision + 1)
    assert len(client.list_phases()) == 3


def test_an_empty_board_is_archived_without_a_revision(client):
    client.archive_board(client.get_snapshot().revision)
    at = client.get_snapshot().revision
    assert client.archive_board(at).phases == 0
    assert client.get_snapshot().revision == at


def test_a_board_that_changes_meanwhile_is_read_again(client, tmp_path, monkeypatch):
    write = archiving._write

    def interrupted(*arguments):
        write(*arguments)
        monkeypatch.setattr(archiving, "_write", write)
        client.set_phase_state("late", "queued")

    monkeypatch.setattr(archiving, "_write", interrupted)
    assert archive(client, tmp_path / "archive").phases == 3
    assert "late" in (tmp_path / "archive").read_text()


def test_a_board_that_changes_during_every_attempt_is_not_archived(client, tmp_path, monkeypatch):
    write = archiving._write

    def interrupted(*arguments):
        write(*arguments)
        client.set_phase_state("late", "queued")

    monkeypatch.setattr(archiving, "_write", interrupted)
    with pytest.raises(RevisionMismatch):
        archive(client, tmp_path / "archive")
    assert not (tmp_path / "archive").exists()
    assert len(client.list_phases()) == 3


# The last of several attempts may be refused while the first is still on its way.
@pytest.mark.parametrize("error", [Unavailable, DeadlineExceeded, StoreFull, Unauthenticated])
def test_if_an_attempt_may_have_emptied_the_board_the_archive_is_kept(client, tmp_path, error):
    class Interrupted(BoardClient):
        def archive_board(self, *stored):
            super().archive_board(*stored)
            raise error("of a later attempt")

    file = tmp_path / "archive"
    with Interrupted(client.target, BOARD) as interrupted, pytest.raises(error):
        archive(interrupted, file)
    assert client.list_phases() == []
    assert len(file.read_text().splitlines()) == 6


def replace_board(client, directory):
    """Make another board with this name, at the same revision as the one before."""
    at = client.get_snapshot().revision
    (directory / f"{BOARD}.board.db").unlink()
    client.open_board()
    for number in range(at):
        client.set_phase_state(f"other-{number}", "queued")
    return client.get_snapshot()


def test_a_board_that_was_replaced_since_is_not_archived(client, tmp_path):
    stored = client.get_snapshot()
    other = replace_board(client, tmp_path / "boards")
    assert other.revision == stored.revision
    with pytest.raises(BoardReplaced) as refused:
        client.archive_board(stored.revision, stored.board_id)
    assert refused.value.board_id == other.board_id
    assert client.get_snapshot() == other
    assert client.archive_board(other.revision, other.board_id).phases == other.revision


def test_a_board_that_is_replaced_meanwhile_is_not_emptied(client, tmp_path, monkeypatch):
    write, others = archiving._write, []

    def interrupted(*arguments):
        write(*arguments)
        others.append(replace_board(client, tmp_path / "boards"))

    monkeypatch.setattr(archiving, "_write", interrupted)
    with pytest.raises(BoardReplaced):
        archive(client, tmp_path / "archive")
    assert client.get_snapshot() == others[0]
    assert not (tmp_path / "archive").exists()


def test_other_files_beside_the_archive_are_not_changed(client, tmp_path):
    (tmp_path / "archive.partial").write_text("somebody's")
    archive(client, tmp_path / "archive")
    assert (tmp_path / "archive.partial").read_text() == "somebody's"
    assert len((tmp_path / "archive").read_text().splitlines()) == 6


def test_an_archive_is_never_overwritten(client, tmp_path):
    (tmp_path / "archive").write_text("the last one")
    with pytest.raises(FileExistsError):
        archive(client, tmp_path / "archive")
    assert (tmp_path / "archive").read_text() == "the last one"
    assert len(client.list_phases()) == 2


def test_ids_of_contracts_continue_after_an_archive(client):
    last = client.all_contracts()[-1].id
    client.archive_board(client.get_snapshot().revision)
    assert client.publish_contract(Contract("a", "type", "T")).id == last + 1


def test_sessions_stay_open_after_an_archive_and_have_no_files(client):
    with client.session("w", ttl=3600) as session:
        session.set_phase_state("s", "running")
        session.claim_file("s.go", "s")
        client.archive_board(client.get_snapshot().revision)
        assert [s.session_id for s in client.list_sessions()] == [session.session_id]
        session.set_phase_state("t", "running")
    assert {phase.phase_id: phase.state for phase in client.list_phases()} == {"t": "failed"}
