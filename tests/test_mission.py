"""What the real dispatcher relies on: the facts of the mission, by their numbers.

Fact 9 is of the Go client, and tested with it.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from board_client import BoardClient, Contract, FileAlreadyClaimed, PhaseState
from tests.support.servers import server_process, server_thread
from tests.support.spec_file import make_spec_file


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("boards")


@pytest.fixture(scope="module")
def server(directory):
    with server_thread(directory) as address:
        yield address


@pytest.fixture
def client(server, request):
    with BoardClient(server, request.node.name[:100]) as client:
        client.open_board()
        yield client


def test_fact_1_a_missing_thing_is_not_an_error(client):
    assert client.get_phase_state("nobody") == ""
    assert client.file_owner("nothing.go") == ""
    assert client.contracts_for("nobody") == []
    assert client.claims_for("nobody") == []
    assert client.publish_contracts([]) == 0
    assert client.release_claims("nobody") == 0


def test_fact_2_there_are_no_transition_rules_and_the_last_write_wins(client):
    first = client.set_phase_state("p", "queued")
    for state in ("done", "queued", "running", "running", "failed", "polling", "blocked"):
        last = client.set_phase_state("p", state)
        assert client.get_phase_state("p") == state
        assert last.posted_at == first.posted_at
    assert last.updated_at > first.updated_at


def test_fact_3_it_writes_later_states_kinds_and_statuses(client):
    for state in ("human_decision", "decomposed"):
        client.set_phase_state("p", state)
        assert client.get_phase_state("p") == state
    client.publish_contracts(
        [
            Contract("p", "method", "Board.Close", status="pending"),
            Contract("p", "method", "Board.Open", status=""),
        ]
    )
    assert [(c.kind, c.status) for c in client.all_contracts()] == [
        ("method", "pending"),
        ("method", "fulfilled"),
    ]


def test_fact_4_signature_and_package_may_be_empty(client):
    client.publish_contract(Contract("p", "file", "go.mod", signature="", package=""))
    (contract,) = client.contracts_for("p")
    assert (contract.signature, contract.package) == ("", "")


def test_fact_5_an_upsert_keeps_id_and_time_and_replaces_the_rest(client):
    first = client.publish_contract(
        Contract("p", "type", "T", signature="old", package="a", status="pending")
    )
    client.publish_contracts(
        [
            Contract("p", "type", "T", signature="passing"),
            Contract("q", "type", "T", signature="other"),
            Contract("p", "type", "T", signature="new", package="b", status="disputed"),
        ]
    )
    ours, theirs = client.all_contracts()
    assert (ours.id, ours.created_at) == (first.id, first.created_at)
    assert (ours.signature, ours.package, ours.status) == ("new", "b", "disputed")
    assert (theirs.producer, theirs.signature) == ("q", "other")


def test_fact_6_contracts_come_by_id_and_claims_by_the_bytes_of_their_paths(client):
    for name in ("Z", "A", "M"):
        client.publish_contract(Contract("p", "type", name))
    client.publish_contract(Contract("p", "type", "Z", signature="again"))
    assert [contract.name for contract in client.all_contracts()] == ["Z", "A", "M"]
    paths = ["./a.go", "a//b.go", "B.go", "a.go", "\uff41.go", "é.go", "\U0001d11e.go"]
    for path in paths:
        client.claim_file(path, "p")
    assert client.claims_for("p") == sorted(paths, key=str.encode)


def test_fact_7_claiming_again_succeeds_and_a_conflict_names_path_and_owner(client):
    first = client.claim_file("a.go", "p")
    assert client.claim_file("a.go", "p") == first
    with pytest.raises(FileAlreadyClaimed) as caught:
        client.claim_file("a.go", "q")
    assert (caught.value.filepath, caught.value.owner) == ("a.go", "p")
    assert str(caught.value) == 'file already claimed by another phase: "a.go" owned by "p"'


def test_fact_8_a_read_after_a_call_sees_its_effect_on_any_connection(client):
    with BoardClient(client.target, client.board) as other:
        for number in range(100):
            client.set_phase_state("p", "running", worker=f"{number}")
            assert other.get_phase("p").worker == f"{number}"
            other.claim_file(f"{number}.go", "p")
            assert len(client.claims_for("p")) == number + 1


def test_fact_10_every_board_is_one_file_and_boards_never_mix(client, directory):
    one, two = client.with_options(board="one"), client.with_options(board="two")
    for board in (one, two):
        board.open_board()
        assert (directory / f"{board.board}.board.db").is_file()
    one.set_phase_state("p", "done")
    one.publish_contract(Contract("p", "type", "T"))
    one.claim_file("a.go", "p")
    assert two.get_phase_state("p") == ""
    assert two.contracts_for("p") == []
    assert two.claim_file("a.go", "q").owner == "q"
    assert one.file_owner("a.go") == "p"


def test_fact_11_a_file_of_quasars_own_store_opens_and_serves_and_goes_back(tmp_path):
    make_spec_file(tmp_path / "nebula.board.db")
    with (
        server_process(tmp_path, board="nebula") as server,
        BoardClient(server.address) as client,
    ):
        phases = client.list_phases()
        assert [p.phase_id for p in phases] == ["first", "second", "third", "fourth"]
        assert phases[0].posted_at == datetime(2026, 2, 23, 5, 3, 45, tzinfo=UTC)
        assert phases[1].posted_at == datetime(2026, 2, 23, 5, 3, 46, tzinfo=UTC)
        assert [contract.name for contract in client.all_contracts()] == ["Close", "go.mod"]
        assert len(client.claims_for("third")) == 2
        phase = client.set_phase_state("fifth", PhaseState.QUEUED)
        assert phase.posted_at.tzinfo is UTC

    with closing(sqlite3.connect(tmp_path / "nebula.board.db")) as db:
        (written,) = db.execute("SELECT posted_at FROM board WHERE task_id = 'fifth'").fetchone()
    assert datetime.strptime(written, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC) == phase.posted_at
