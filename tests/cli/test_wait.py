"""`board wait`."""

import socket
import threading
from contextlib import ExitStack

import pytest
import typer

from board_client import BoardClient, Contract
from board_client.cli.conditions import against, phase_in
from board_client.model import ContractPublished, NotMet, PhaseIn
from board_server.sqlite import SqliteStore
from tests.cli.conftest import run, started
from tests.support.servers import server_thread


def test_conditions_that_hold_already_are_printed_at_once(board):
    board.client.set_phase_state("p1", "failed")
    board.client.publish_contract(Contract("p1", "type", "T", package="x"))
    conditions = ("--phase", "p1=done,failed", "--contract", "T", "--file", "a.go")
    met = board("wait", *conditions)
    assert (met.code, met.err) == (0, "")
    assert met.out == "phase p1 is failed\ncontract type T is published by p1\nfile a.go is free\n"

    result = board("wait", *conditions, "--json").json
    assert result["revision"] == 2
    assert [each["phase_id"] for each in result["phases"]] == ["p1"]
    assert [each["name"] for each in result["contracts"]] == ["T"]


def test_any_contract_that_passes_the_filters_counts(board):
    board.client.publish_contract(Contract("p1", "type", "T", package="x"))
    met = board("wait", "--producer", "p1", "--kind", "type", "--package", "x")
    assert met.out == "contract type T is published by p1\n"


def test_a_wait_that_times_out_exits_with_7_and_names_the_conditions_not_met(board):
    board.client.set_phase_state("p1", "running")
    board.client.claim_file("a.go", "p1")
    late = board(
        *("wait", "--phase", "p1=done", "--phase", "p2=done", "--contract", "T"),
        *("--kind", "type", "--file", "a.go", "--file", "free.go", "--timeout", "200ms"),
    )
    assert (late.code, late.out) == (7, "")
    assert late.err == (
        "board: not met within 200ms: phase p1 is running; there is no phase p2; "
        "there is no contract of kind type, name T; p1 has a.go\n"
    )


def test_under_json_a_wait_that_times_out_lists_the_conditions_not_met(board):
    board.client.set_phase_state("p1", "running")
    board.client.claim_file("a.go", "p1")
    late = board(
        *("wait", "--phase", "p1=done,failed", "--contract", "T", "--kind", "type"),
        *("--file", "a.go", "--file", "free.go", "--timeout", "200ms", "--json"),
    )
    assert (late.code, late.error["reason"]) == (7, "TIMED_OUT")
    wanted = {"name": "T", "kind": "type", "producer": "", "package": ""}
    assert late.error["metadata"]["not_met"] == [
        {
            "phase": {"phase_id": "p1", "states": ["done", "failed"]},
            "actual": "running",
            "message": "phase p1 is running",
        },
        {
            "contract": wanted,
            "actual": "",
            "message": "there is no contract of kind type, name T",
        },
        {"file_free": {"filepath": "a.go"}, "actual": "p1", "message": "p1 has a.go"},
    ]


class Watched(SqliteStore):
    """A store with an event that is set once a call waits."""

    asked = threading.Event()

    async def find(self, board, conditions):
        self.asked.set()
        return await super().find(board, conditions)


def test_a_wait_survives_a_restart_of_the_server(tmp_path):
    directory = tmp_path / "boards"
    with ExitStack() as first:
        address = first.enter_context(server_thread(directory, store=Watched))
        with started("--target", address, "wait", "--phase", "p1=done") as waiting:
            assert Watched.asked.wait(60)
            first.close()
            with server_thread(directory, listen=address), BoardClient(address) as client:
                client.set_phase_state("p1", "done")
                out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, out, err) == (0, "phase p1 is done\n", "")


def test_a_server_that_is_not_there_is_reported_at_once_however_long_the_wait():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and no server listens
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        lost = run("--target", address, "wait", "--file", "a.go")
    assert lost.code == 4
    assert lost.err.startswith(f"board: no board answers at {address}")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--phase", "p1"], ["--phase", "p1=finished"], ["--file", "a", "--timeout", "5x"]],
)
def test_a_wait_without_conditions_or_with_invalid_ones_is_wrong_usage(board, arguments):
    refused = board("wait", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "Traceback" not in refused.err


def test_a_phase_is_named_with_its_states():
    assert phase_in("a=b=done,failed") == PhaseIn("a=b", "done", "failed")
    for text in ("p", "p=", "=done", ""):
        with pytest.raises(typer.BadParameter):
            phase_in(text)


def test_a_contract_that_is_not_published_is_described_by_each_field_given():
    wanted = ContractPublished("T", "type", "p1", "y")
    assert against(NotMet(wanted, "")) == (
        "there is no contract of kind type, name T, package y, producer p1"
    )
