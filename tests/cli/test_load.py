"""`board load` and `board status`: a nebula's plan on a board."""

import shutil
from datetime import datetime

import pytest

from board_client import BoardClient, BoardNotFound, Contract
from board_client.cli.load import post
from tests.cli.conftest import NEBULAS, Board


@pytest.fixture
def broken(tmp_path):
    """A copy of a real nebula with two files that are wrong."""
    directory = tmp_path / "contract-board"
    shutil.copytree(NEBULAS / "contract-board", directory)
    first, fifth = directory / "01-board-store.md", directory / "05-poll-prompt.md"
    first.write_text(first.read_text().replace("priority = 1", "priority = first"))
    fifth.write_text(fifth.read_text().replace('"contract-model", ', "contract-model, "))
    return directory


def test_a_loaded_nebula_is_on_the_board_of_its_name_with_every_phase_queued(target):
    board = Board(target, "contract-board")
    unnamed = {"BOARD_NAME": ""}
    loaded = board("load", NEBULAS / "contract-board", **unnamed)
    assert (loaded.code, loaded.err) == (0, "")
    result = "loaded 8 phases onto board contract-board: 8 new, 0 kept, 0 changed\n"
    assert loaded.out == result

    shown = board("status")
    assert "8 phases (8 queued), 0 claims, 0 contracts" in shown.out
    rows = [line.split("\t") for line in shown.out.splitlines() if "\t" in line]
    assert [row[0] for row in rows] == [
        *("board-store", "contract-model", "contract-publisher", "polling-state"),
        *("poll-prompt", "pushback-handler", "worker-integration", "integration-tests"),
    ]
    assert {row[1] for row in rows} == {"queued"}


@pytest.fixture
def underway(board):
    """A board with a loaded nebula of which one phase runs, one is done, one was lost."""
    assert board("load", NEBULAS / "dag-engine").code == 0
    first, second, third, *_ = board.client.list_phases()
    board.client.set_phase_state(first.phase_id, "running", worker="w1")
    board.client.set_phase_state(second.phase_id, "done", worker="w2")
    board.client.set_phase_state(third.phase_id, "queued", worker="w3")
    return board


def test_loading_again_changes_no_known_phase_and_writes_nothing(underway):
    before, revision = underway.client.list_phases(), underway.client.open_board().revision
    again = underway("load", NEBULAS / "dag-engine")
    assert again.out.endswith(": 0 new, 5 kept, 0 changed\n")
    assert underway.client.list_phases() == before
    assert underway.client.open_board().revision == revision


class Overtaken(BoardClient):
    """A client that reads a phase just before another client takes it."""

    def get_phase(self, phase_id):
        found = super().get_phase(phase_id)
        if found is None:
            self.set_phase_state(phase_id, "running", worker="w1")
        return found


def test_a_phase_that_is_taken_while_it_is_loaded_stays_with_its_worker(board):
    with Overtaken(board.target, board.name) as client:
        phase, outcome = post(client, "p1", reset=False)
    assert (phase.state, phase.worker, outcome) == ("running", "w1", "kept")
    assert board.client.list_phases() == [phase]


def test_loading_again_posts_what_is_new(underway, tmp_path):
    nebula = tmp_path / "nebula"
    shutil.copytree(NEBULAS / "dag-engine", nebula)
    (nebula / "zz-more.md").write_text('+++\nid = "more"\n+++\n')
    again = underway("load", nebula, "--json").json
    assert (again["new"], again["kept"], again["changed"]) == (1, 5, 0)
    assert [phase["state"] for phase in again["phases"]] == [
        *("running", "done", "queued", "queued", "queued", "queued")
    ]
    assert underway.client.get_phase_state("more") == "queued"


def test_a_reset_queues_every_phase_without_a_worker(underway):
    before = underway.client.list_phases()
    again = underway("load", NEBULAS / "dag-engine", "--reset", "--json").json
    assert again["board"] == underway.name
    assert (again["new"], again["kept"], again["changed"]) == (0, 2, 3)
    assert {(phase["state"], phase["worker"]) for phase in again["phases"]} == {("queued", "")}
    first = again["phases"][0]
    assert datetime.fromisoformat(first["posted_at"]) == before[0].posted_at
    assert datetime.fromisoformat(first["updated_at"]) > before[0].updated_at


def test_load_makes_a_valid_board_name_and_prints_it(target):
    loaded = Board(target, "")("load", NEBULAS / "dag-engine")
    assert loaded.out == ("loaded 5 phases onto board DAG-Task-Engine: 5 new, 0 kept, 0 changed\n")


def test_malformed_files_are_reported_with_path_and_line_and_nothing_is_posted(unopened, broken):
    refused = unopened("load", broken)
    assert (refused.code, refused.out) == (2, "")
    first, fifth = refused.err.splitlines()
    assert first.startswith(f"{broken / '01-board-store.md'}:5: ")
    assert fifth.startswith(f"{broken / '05-poll-prompt.md'}:6: ")
    with BoardClient(unopened.target, unopened.name) as client, pytest.raises(BoardNotFound):
        client.list_phases()


def test_status_counts_claims_and_contracts_of_each_phase(board):
    board.client.set_phase_state("p1", "running", worker="w1")
    board.client.set_phase_state("p2", "queued")
    board.client.claim_file("go.mod", "p1")
    board.client.publish_contracts([Contract("p1", "file", name) for name in ("go.mod", "go.sum")])
    shown = board("status", "--json").json
    assert shown["board"]["name"] == board.name
    assert shown["board"]["revision"] == 4
    assert shown["states"] == {"queued": 1, "running": 1}
    assert (shown["claims"], shown["contracts"]) == (1, 2)
    first, second = shown["phases"]
    assert (first["worker"], first["claims"], first["contracts"]) == ("w1", 1, 2)
    assert (second["worker"], second["claims"], second["contracts"]) == ("", 0, 0)


def test_without_a_name_the_only_board_in_use_is_used_while_the_default_board_is_unused(
    own_server,
):
    board = Board(own_server, "")
    board("load", NEBULAS / "dag-engine")
    assert board("status").out.startswith("board DAG-Task-Engine, revision 5\n")
    assert board("status", "--json").json["board"]["name"] == "DAG-Task-Engine"

    with BoardClient(own_server, "another") as another:
        another.open_board()
        another.set_phase_state("p1", "queued")
    for command in ("status", "claims", "phase list", "run -- true", "claim a --phase p"):
        several = board(*command.split())
        assert (several.code, several.out) == (2, ""), command
        assert several.err == (
            "board: several boards are in use; name one with --board or BOARD_NAME: "
            "DAG-Task-Engine, another\n"
        )
    assert [row[0] for row in board("boards").rows] == ["DAG-Task-Engine", "another", "boards"]

    with BoardClient(own_server) as default:
        default.set_phase_state("p2", "queued")
    assert board("status").out.startswith("board boards, revision 1\n")
