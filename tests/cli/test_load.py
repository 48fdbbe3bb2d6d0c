"""`board load` and `board status`: a nebula's plan on a board."""

import shutil
from datetime import datetime

import pytest

from board_client import BoardClient, BoardNotFound, Contract
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
    assert loaded.out == "loaded 8 phases onto board contract-board\n"

    shown = board("status")
    assert "8 phases (8 queued), 0 claims, 0 contracts" in shown.out
    rows = [line.split("\t") for line in shown.out.splitlines() if "\t" in line]
    assert [row[0] for row in rows] == [
        *("board-store", "contract-model", "contract-publisher", "polling-state"),
        *("poll-prompt", "pushback-handler", "worker-integration", "integration-tests"),
    ]
    assert {row[1] for row in rows} == {"queued"}


def test_loading_again_queues_every_phase_again_and_takes_its_worker_away(board):
    assert board("load", NEBULAS / "dag-engine").code == 0
    before = board.client.set_phase_state("dag-core", "running", worker="w1")
    again = board("load", NEBULAS / "dag-engine", "--json").json
    assert again["board"] == board.name
    core = again["phases"][0]
    assert (core["phase_id"], core["state"], core["worker"]) == ("dag-core", "queued", "")
    assert datetime.fromisoformat(core["posted_at"]) == before.posted_at
    assert datetime.fromisoformat(core["updated_at"]) > before.updated_at


def test_a_name_that_no_board_can_have_is_made_one_and_told(target):
    loaded = Board(target, "")("load", NEBULAS / "dag-engine")
    assert loaded.out == "loaded 5 phases onto board DAG-Task-Engine\n"


def test_malformed_files_are_told_with_path_and_line_and_nothing_is_posted(unopened, broken):
    refused = unopened("load", broken)
    assert (refused.code, refused.out) == (2, "")
    first, fifth = refused.err.splitlines()
    assert first.startswith(f"{broken / '01-board-store.md'}:5: ")
    assert fifth.startswith(f"{broken / '05-poll-prompt.md'}:6: ")
    with BoardClient(unopened.target, unopened.name) as client, pytest.raises(BoardNotFound):
        client.list_phases()


def test_status_tells_claims_and_contracts_of_each_phase(board):
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


def test_status_without_a_name_shows_the_only_board_that_holds_anything(own_server):
    board = Board(own_server, "")
    board("load", NEBULAS / "dag-engine")
    assert board("status").out.startswith("board DAG-Task-Engine, revision 5\n")
    assert board("status", "--json").json["board"]["name"] == "boards"

    with BoardClient(own_server, "another") as another:
        another.open_board()
        another.set_phase_state("p1", "queued")
    several = board("status").out
    assert several.startswith("board boards, revision 0\n")
    assert "DAG-Task-Engine, another" in several
    assert [row[0] for row in board("boards").rows] == ["DAG-Task-Engine", "another", "boards"]
