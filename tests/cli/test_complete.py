"""`board complete`."""

import json

import pytest

LINE = json.dumps({"kind": "type", "name": "T", "signature": "type T int"}).encode() + b"\n"


def test_complete_publishes_contracts_and_releases_files_in_one_transaction(board):
    board.client.set_phase_state("p1", "running")
    board.client.claim_files(["a.go", "b.go"], "p1")
    before = board.client.open_board().revision
    done = board("complete", "p1", "--contracts", "-", stdin=LINE)
    assert (done.code, done.err) == (0, "")
    assert done.out == "p1 is done: 1 contract published, 2 files released\n"
    assert board.client.open_board().revision == before + 1
    (contract,) = board.client.contracts_for("p1")
    assert contract.signature == "type T int"


def test_a_phase_that_does_not_exist_is_completed_only_with_create(board):
    refused = board("complete", "nope", "--contracts", "-", stdin=LINE)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        'board: there is no phase "nope"; `board phase list` lists all, --create makes it\n'
    )
    assert board.client.open_board().revision == 0
    assert board("complete", "nope", "--create").code == 0
    assert board.client.get_phase_state("nope") == "done"


def test_a_worker_ends_its_own_phase_as_failed(board):
    board.client.set_phase_state("p1", "running")
    ended = board("complete", "--state", "failed", "--json", QUASAR_TASK_ID="p1").json
    assert (ended["phase"]["phase_id"], ended["phase"]["state"]) == ("p1", "failed")
    assert (ended["published"], ended["released"]) == (0, 0)


def test_a_bad_contract_is_reported_with_its_line_and_nothing_is_done(board, tmp_path):
    file = tmp_path / "c.jsonl"
    board.client.set_phase_state("p1", "running")
    file.write_bytes(LINE + b"\n" + LINE.replace(b'"T"', b'"' + b"T" * 5000 + b'"'))
    refused = board("complete", "p1", "--contracts", file)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"{file}:3: contracts[1].name: ")
    assert board.client.get_phase_state("p1") == "running"


@pytest.mark.parametrize("options", [(), ("--create",)])
@pytest.mark.parametrize("state", ["running", "unheard-of", ""])
def test_complete_accepts_only_done_and_failed(board, state, options):
    refused = board("complete", "p1", "--state", state, *options)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "must be done or failed" in refused.err
    assert board.client.get_phase("p1") is None
