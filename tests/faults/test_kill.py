"""The server is killed under writes: no acknowledged write is lost."""

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from itertools import count

import pytest

from board_client import BoardClient, BoardError, Contract
from tests.support.servers import server_process

BOARD = "nebula"
WRITERS = 8
ACKNOWLEDGED = 200
"""Writes to wait for before the server is killed."""


class Acknowledged:
    """The acknowledged writes, as reads must return them."""

    def __init__(self):
        self.phases: dict[str, str] = {}
        self.contracts: dict[str, str] = {}
        self.claims: dict[str, str] = {}
        self.writes = threading.Semaphore(0)

    def write(self, client: BoardClient, writer: str) -> None:
        """Make one write after the other until the server is killed."""
        try:
            for number in count():
                client.set_phase_state(writer, "running", worker=f"{number}")
                self.phases[writer] = f"{number}"
                self.writes.release()
                name = f"{writer} {number}"
                batch = [
                    Contract(writer, "type", f"{name} {part}", signature=name) for part in "ab"
                ]
                client.publish_contracts(batch)
                self.contracts |= {contract.name: name for contract in batch}
                self.writes.release()
                client.claim_file(f"{name}.go", writer)
                self.claims[f"{name}.go"] = writer
                self.writes.release()
        except BoardError:
            pass  # it is killed: this write may or may not have happened


@pytest.mark.parametrize(("end", "rounds"), [("kill", 2), ("stop", 1)])
def test_every_acknowledged_write_survives_the_end_of_the_server(tmp_path, end, rounds):
    acknowledged = Acknowledged()
    for number in range(rounds):
        with server_process(tmp_path, board=BOARD) as server:
            clients = [BoardClient(server.address, timeout=2) for _ in range(WRITERS)]
            threads = [
                threading.Thread(target=acknowledged.write, args=(client, f"p{number}-{index}"))
                for index, client in enumerate(clients)
            ]
            for thread in threads:
                thread.start()
            for _ in range(ACKNOWLEDGED):
                assert acknowledged.writes.acquire(timeout=30)
            getattr(server, end)()
            for thread in threads:
                thread.join()
            for client in clients:
                client.close()

        with server_process(tmp_path, board=BOARD) as server:
            with BoardClient(server.address) as client:
                revision = client.open_board().revision
                phases = {phase.phase_id: int(phase.worker) for phase in client.list_phases()}
                contracts = {c.name: c.signature for c in client.all_contracts()}
                claims = {claim.filepath: claim.owner for claim in client.list_claims()}
            assert server.stop() == 0

        # A write in progress when the server ended may be there too.
        assert all(phases[phase] >= int(n) for phase, n in acknowledged.phases.items())
        assert acknowledged.contracts.items() <= contracts.items()
        assert acknowledged.claims.items() <= claims.items()
        assert set(Counter(contracts.values()).values()) == {2}, "half a batch is there"
        changes = len(claims) + len(contracts) // 2 + sum(n + 1 for n in phases.values())
        assert revision == changes

        with closing(sqlite3.connect(tmp_path / f"{BOARD}.board.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
