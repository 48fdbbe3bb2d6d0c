"""The acceptance criteria of the specification, one test each, in this project's shape.

`go test` is pytest here, `go vet` is ruff and mypy, and goroutines are threads.
"""

import json
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from board_client import BoardClient, Contract, FileAlreadyClaimed
from tests.support.servers import server_process, server_thread
from tests.support.spec_file import SCHEMA

ROOT = Path(__file__).parent.parent

INTERFACE = {
    "SetPhaseState": "set_phase_state",
    "GetPhaseState": "get_phase_state",
    "PublishContract": "publish_contract",
    "PublishContracts": "publish_contracts",
    "ContractsFor": "contracts_for",
    "AllContracts": "all_contracts",
    "ClaimFile": "claim_file",
    "ReleaseClaims": "release_claims",
    "FileOwner": "file_owner",
    "ClaimsFor": "claims_for",
    "Close": "close",
}
"""The methods of the specification's interface, and what the clients call them."""


@pytest.fixture
def client(tmp_path):
    with server_thread(tmp_path / "nebula") as address, BoardClient(address) as client:
        yield client


def columns(db, table):
    return db.execute(f"SELECT * FROM pragma_table_info('{table}') ORDER BY cid").fetchall()


def test_the_database_opens_in_wal_mode_with_a_busy_timeout(tmp_path):
    """Another process holds the file for a while: a write waits for it, and succeeds."""
    with (
        server_process(tmp_path, board="nebula") as server,
        BoardClient(server.address) as client,
        closing(sqlite3.connect(tmp_path / "nebula.board.db", check_same_thread=False)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.execute("BEGIN IMMEDIATE")
        write = pool.submit(client.claim_file, "a.go", "p")
        assert client.file_owner("a.go") == ""  # readers do not wait
        with pytest.raises(TimeoutError):
            write.result(timeout=0.5)
        other.rollback()
        assert write.result().owner == "p"


def test_the_three_tables_are_created_on_the_first_open_and_only_then(tmp_path):
    for _ in range(2):
        with server_process(tmp_path, board="nebula") as server:
            assert server.stop() == 0
        with (
            closing(sqlite3.connect(tmp_path / "nebula.board.db")) as db,
            closing(sqlite3.connect(":memory:")) as spec,
        ):
            spec.executescript(SCHEMA)
            for table in ("board", "contracts", "file_claims"):
                assert columns(db, table) == columns(spec, table) != []
            db.execute("INSERT OR IGNORE INTO file_claims VALUES ('a.go', 'p', '2026-02-23')")
            assert db.execute("SELECT count(*) FROM file_claims").fetchone() == (1,)
            db.commit()


@pytest.mark.parametrize("method", INTERFACE.values(), ids=INTERFACE)
def test_the_board_interface_is_fully_implemented(method):
    assert callable(getattr(BoardClient, method))


def test_the_1040_contracts_of_quasar_publish_and_list_back_equal(client):
    lines = (ROOT / "tests" / "fixtures" / "quasar-contracts.jsonl").read_text().splitlines()
    contracts = [Contract(**json.loads(line)) for line in lines]
    assert len(contracts) == client.publish_contracts(contracts) == 1040
    listed = [replace(contract, id=0, created_at=None) for contract in client.all_contracts()]
    assert listed == contracts


def test_claim_file_fails_if_another_phase_has_the_file(client):
    client.claim_file("a.go", "p")
    with pytest.raises(FileAlreadyClaimed):
        client.claim_file("a.go", "q")
    client.claim_file("a.go", "p")


def test_publish_contract_is_idempotent(client):
    contract = Contract("p", "type", "T", signature="struct{}", package="board")
    assert client.publish_contract(contract) == client.publish_contract(contract)
    assert len(client.all_contracts()) == 1


def test_concurrent_reads_and_writes_do_not_deadlock(client):
    def work(worker: int) -> None:
        phase = f"p{worker}"
        for number in range(20):
            client.set_phase_state(phase, "running")
            client.publish_contract(Contract(phase, "type", f"T{number}"))
            client.claim_file(f"{phase}/{number}.go", phase)
            assert client.get_phase_state(phase) == "running"
            assert len(client.contracts_for(phase)) == number + 1
            assert len(client.claims_for(phase)) == number + 1
        assert client.release_claims(phase) == 20

    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert time.monotonic() - began < 60
    assert len(client.all_contracts()) == 16 * 20
    assert client.list_claims() == []


@pytest.mark.lint
def test_the_linters_are_clean():
    tools = Path(sys.executable).parent
    for command in (["ruff", "check"], ["ruff", "format", "--check"]):
        ran = subprocess.run(
            [tools / command[0], *command[1:]],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.lint
def test_the_types_are_clean():
    mypy = Path(sys.executable).parent / "mypy"
    ran = subprocess.run([mypy], cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
