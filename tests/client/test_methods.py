"""What each method of both clients takes and returns."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    BoardInfo,
    ClientClosed,
    Contract,
    ContractKind,
    ContractPublished,
    ContractStatus,
    DeadlineExceeded,
    FileAlreadyClaimed,
    FileClaim,
    FileFree,
    OnExpiry,
    Phase,
    PhaseIn,
    PhaseState,
    Session,
    SessionExpired,
)
from tests.client.conftest import DEFAULT_BOARD

STATES = [state for state in PhaseState if state]
KINDS = [kind for kind in ContractKind if kind]
STATUSES = [status for status in ContractStatus if status]


def is_now(moment: datetime) -> bool:
    return moment.tzinfo is UTC and abs(datetime.now(UTC) - moment) < timedelta(minutes=1)


def given(contract: Contract) -> Contract:
    """The contract without its id and time, which the board sets."""
    return replace(contract, id=0, created_at=None)


def test_both_clients_have_the_same_methods():
    def public(kind):
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(BoardClient) == public(AsyncBoardClient)


def test_open_board_returns_the_board(client):
    info = client.open_board()
    assert type(info) is BoardInfo
    assert (info.name, info.revision) == (client.board, 0)
    assert info.board_id
    assert is_now(info.created_at)
    client.claim_file("a.go", "p")
    assert client.open_board() == replace(info, revision=1)


def test_list_boards_returns_every_board(client):
    listed = client.list_boards()
    assert client.open_board() in listed
    names = [info.name for info in listed]
    assert DEFAULT_BOARD in names
    assert names == sorted(names)


def test_a_client_without_a_board_name_uses_the_default_board(connect, server):
    client = connect(server)
    assert client.open_board().name == DEFAULT_BOARD


def test_set_phase_state_returns_the_phase(client):
    phase = client.set_phase_state("p", PhaseState.RUNNING, worker="w1")
    assert type(phase) is Phase
    assert (phase.phase_id, phase.state, phase.worker) == ("p", PhaseState.RUNNING, "w1")
    assert phase.posted_at == phase.updated_at
    assert is_now(phase.posted_at)


@pytest.mark.parametrize("state", STATES)
def test_a_state_may_be_given_as_a_word(client, state):
    assert client.set_phase_state("p", state.value).state is state
    assert client.get_phase_state("p") == state.value
    assert client.get_phase("p").state is state
    assert client.list_phases(state.value) == [client.get_phase("p")]


def test_the_state_of_no_phase_is_empty(client):
    assert client.get_phase_state("nobody") == ""
    assert client.get_phase("nobody") is None
    assert client.list_phases() == []


def test_the_worker_is_kept_replaced_or_cleared(client):
    assert client.set_phase_state("p", "queued", worker="w1").worker == "w1"
    assert client.set_phase_state("p", "running").worker == "w1"
    assert client.set_phase_state("p", "running", worker="w2").worker == "w2"
    assert client.set_phase_state("p", "running", worker="").worker == ""


def test_a_phase_in_the_expected_state_is_changed(client):
    client.set_phase_state("p", "queued")
    assert client.set_phase_state("p", "running", expected_state="queued").state == "running"


def test_list_phases_filters_by_state(client):
    for state in STATES:
        client.set_phase_state(f"is {state}", state)
    assert [phase.state for phase in client.list_phases()] == STATES
    assert [p.state for p in client.list_phases("done", PhaseState.QUEUED)] == ["queued", "done"]


def test_publish_contract_returns_the_contract_with_its_id_and_time(client):
    sent = Contract(
        "p", ContractKind.METHOD, "Board.Close", signature="func() error", package="board"
    )
    contract = client.publish_contract(sent)
    assert type(contract) is Contract
    assert given(contract) == sent
    assert contract.id > 0
    assert is_now(contract.created_at)
    assert client.all_contracts() == [contract]


def test_a_kind_and_a_status_may_be_given_as_words(client):
    contract = client.publish_contract(Contract("p", "file", "go.mod", status="pending"))
    assert contract.kind is ContractKind.FILE
    assert contract.status is ContractStatus.PENDING


def test_an_empty_status_means_fulfilled(client):
    contract = client.publish_contract(Contract("p", "file", "go.mod", status=""))
    assert contract.status is ContractStatus.FULFILLED


def test_a_contract_that_was_read_can_be_published_again(client):
    contract = client.publish_contract(Contract("p", "type", "T"))
    assert client.publish_contract(contract) == contract


def test_publish_contracts_counts_the_distinct_ones(client):
    batch = [Contract("p", "type", "A"), Contract("p", "type", "B"), Contract("p", "type", "A")]
    assert client.publish_contracts(batch) == 2
    assert client.publish_contracts(contract for contract in batch) == 2
    assert client.publish_contracts([]) == 0


def test_contracts_of_every_kind_and_status_read_back(client):
    sent = [Contract("p", kind, status, status=status) for kind in KINDS for status in STATUSES]
    client.publish_contracts(sent)
    assert [given(contract) for contract in client.all_contracts()] == sent


def test_contracts_for_returns_the_contracts_of_one_producer(client):
    client.publish_contracts([Contract(producer, "type", "T") for producer in ("p", "q")])
    assert [contract.producer for contract in client.contracts_for("q")] == ["q"]
    assert client.contracts_for("nobody") == []


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({}, "ABC"),
        ({"producer": "q"}, "C"),
        ({"kind": ContractKind.FILE}, "B"),
        ({"kind": "file"}, "B"),
        ({"name": "A"}, "A"),
        ({"package": ""}, "B"),
        ({"package": "x", "producer": "p"}, "A"),
        ({"status": "disputed"}, "C"),
        ({"status": ContractStatus.PENDING}, ""),
    ],
    ids=str,
)
def test_list_contracts_returns_what_matches_every_filter(client, where, names):
    client.publish_contracts(
        [
            Contract("p", "type", "A", package="x"),
            Contract("p", "file", "B"),
            Contract("q", "type", "C", package="x", status="disputed"),
        ]
    )
    assert "".join(contract.name for contract in client.list_contracts(**where)) == names


def test_claim_file_returns_the_claim(client):
    claim = client.claim_file("a.go", "p")
    assert type(claim) is FileClaim
    assert (claim.filepath, claim.owner) == ("a.go", "p")
    assert is_now(claim.claimed_at)
    assert client.claim_file("a.go", owner="p") == claim
    assert client.file_owner("a.go") == "p"
    assert client.list_claims() == [claim]


def test_claim_files_claims_all_or_none(client):
    claims = client.claim_files(["b.go", "a.go"], "p")
    assert [(claim.filepath, claim.owner) for claim in claims] == [("b.go", "p"), ("a.go", "p")]
    client.claim_file("d.go", "q")
    with pytest.raises(FileAlreadyClaimed):
        client.claim_files(["c.go", "d.go"], "p")
    assert client.claims_for("p") == ["a.go", "b.go"]
    assert client.claim_files([], "p") == []


def test_complete_phase_ends_a_phases_work(client):
    client.set_phase_state("p", "running", worker="w1")
    client.claim_files(["a.go", "b.go"], "p")
    done = client.complete_phase("p", contracts=[Contract("p", "type", "T")])
    assert (done.phase.state, done.published, done.released) == ("done", 1, 2)
    assert client.get_phase("p") == done.phase
    assert client.complete_phase("p", "failed").phase.state is PhaseState.FAILED


def test_get_snapshot_returns_the_whole_board(client):
    client.set_phase_state("p", "running")
    client.publish_contracts(
        [Contract("p", "type", f"T{n}", signature="x" * 2**18) for n in range(10)]
    )
    client.claim_file("a.go", "p")
    snapshot = client.get_snapshot()
    info = client.open_board()
    assert (snapshot.revision, snapshot.board_id) == (info.revision, info.board_id)
    assert snapshot.phases == client.list_phases()
    assert snapshot.contracts == client.all_contracts()
    assert snapshot.claims == client.list_claims()
    assert snapshot.sessions == []


def test_a_session_is_opened_renewed_listed_and_closed(client):
    session = client.open_session("w1", timedelta(minutes=5), "requeue")
    assert type(session) is Session
    assert (session.worker, session.ttl) == ("w1", timedelta(minutes=5))
    assert session.on_expiry is OnExpiry.REQUEUE
    assert session.expires_at > datetime.now(UTC)
    assert client.renew_session(session.session_id).session_id == session.session_id
    assert [held.session_id for held in client.list_sessions()] == [session.session_id]
    bound = client.with_options(session_id=session.session_id)
    assert bound.set_phase_state("p", "running").session_id == session.session_id
    assert bound.claim_file("a.go", "p").session_id == session.session_id
    assert client.close_session(session.session_id) == 1
    assert client.get_phase_state("p") == "queued"
    assert client.list_sessions() == []
    with pytest.raises(SessionExpired):
        bound.claim_file("b.go", "p")


def test_wait_for_answers_at_once_if_its_conditions_hold(client):
    phase = client.set_phase_state("p", "done")
    contract = client.publish_contract(Contract("p", "type", "T"))
    met = client.wait_for(PhaseIn("p", "done", "failed"), ContractPublished("T"), FileFree("a.go"))
    assert (met.phases, met.contracts, met.revision) == ([phase], [contract], 2)


def test_wait_for_ends_with_the_clients_timeout(client):
    with pytest.raises(DeadlineExceeded):
        client.with_options(timeout=0.3).wait_for(PhaseIn("p", "done"))


def test_the_owner_of_an_unclaimed_file_is_empty(client):
    assert client.file_owner("a.go") == ""
    assert client.claims_for("p") == []
    assert client.list_claims() == []


def test_release_claims_releases_all_or_the_named_ones(client):
    for path in ("a.go", "b.go", "c.go"):
        client.claim_file(path, "p")
    assert client.release_claims("p", ["a.go", "z.go"]) == 1
    assert client.release_claims("p") == 2
    assert client.release_claims("p") == 0


def test_claims_for_returns_paths_in_byte_order(client):
    paths = ["b.go", "é.go", "B.go", "𝄞.go", "\uff41.go"]
    for path in paths:
        client.claim_file(path, "p")
    client.claim_file("c.go", "q")
    assert client.claims_for("p") == sorted(paths, key=str.encode)
    assert [claim.filepath for claim in client.list_claims("q")] == ["c.go"]
    assert [claim.owner for claim in client.list_claims()].count("p") == len(paths)


def test_lists_longer_than_a_page_are_returned_whole(client):
    sent = [Contract("p", "function", f"F{index}") for index in range(2500)]
    client.publish_contracts(sent)
    assert [given(contract) for contract in client.all_contracts()] == sent


def test_lists_of_large_contracts_are_returned_whole(client):
    sent = [Contract("p", "type", f"T{index}", signature="é" * 2**19) for index in range(10)]
    client.publish_contracts(sent)
    assert [given(contract) for contract in client.all_contracts()] == sent


def test_with_options_gives_a_client_of_another_board_on_the_same_connection(client):
    other = client.with_options(board=f"{client.board}-other")
    other.open_board()
    other.claim_file("a.go", "q")
    assert client.file_owner("a.go") == ""
    assert other.file_owner("a.go") == "q"
    assert client.board != other.board


def test_with_options_gives_a_client_with_another_timeout_on_the_same_connection(client):
    patient = client.with_options(timeout=42)
    assert (patient.timeout, client.timeout, patient.board) == (42, 10, client.board)
    patient.claim_file("a.go", "p")
    assert client.file_owner("a.go") == "p"


def test_a_client_can_be_closed_twice(connect, server):
    client = connect(server)
    client.open_board()
    client.close()
    client.close()


def test_a_with_block_closes_the_connection(server, board):
    with BoardClient(server, board) as client:
        client.claim_file("a.go", "p")
    with pytest.raises(ClientClosed):
        client.claim_file("b.go", "p")


async def test_an_async_with_block_closes_the_connection(server, board):
    async with AsyncBoardClient(server, board) as client:
        await client.claim_file("a.go", "p")
    with pytest.raises(ClientClosed):
        await client.claim_file("b.go", "p")


def test_a_closed_client_leaves_no_thread_and_no_warning(server, board):
    for _ in range(5):
        with BoardClient(server, board) as client:
            client.open_board()
