"""What conditions on contracts cost WaitFor, in steps of SQLite's virtual machine.

Finding a row takes SQLite about twenty steps, skipping one about five.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, combinations

import apsw
import pytest

from board_server.model import ContractCondition, ContractDraft, ContractKind
from board_server.sqlite import SqliteStore, open_board
from board_server.watch import waiters
from board_server.watch.hub import Hubs

BOARD = "board"
CONTRACTS = 4000
A_FEW_ROWS = 1500
"""Steps that a condition may take in a table of CONTRACTS rows; a scan takes ten times as many.

A producer has 50 contracts, and a package 100."""


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path)
    await store.open_board(BOARD)
    yield store
    await store.close()


def draft(number: int) -> ContractDraft:
    kind = ContractKind.FUNCTION if number % 2 else ContractKind.TYPE
    return ContractDraft(f"p{number // 50}", kind, f"N{number}", "", f"pkg{number // 100}")


@contextmanager
def counted(connection: apsw.Connection) -> Iterator[list[int]]:
    """Count the steps of each statement on a connection."""
    steps: list[int] = []
    connection.trace_v2(
        apsw.SQLITE_TRACE_PROFILE,
        lambda event: steps.append(event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]),
    )
    yield steps
    connection.trace_v2(0, None)


def opened(store: SqliteStore):
    (found,) = store._registry.open_boards()
    return found


LAST = {
    "producer": f"p{(CONTRACTS - 1) // 50}",
    "kind": ContractKind.FUNCTION,
    "name": f"N{CONTRACTS - 1}",
    "package": f"pkg{(CONTRACTS - 1) // 100}",
}
ABSENT = {"producer": "?", "kind": ContractKind.FILE, "name": "?", "package": "?"}
SHAPES = list(chain.from_iterable(combinations(LAST, size) for size in range(1, 5)))


def condition(shape: tuple[str, ...], absent: str = "") -> ContractCondition:
    given = {column: (ABSENT if column == absent else LAST)[column] for column in shape}
    return ContractCondition(*(given.get(column) for column in LAST))


async def test_every_condition_on_contracts_reads_only_a_few_rows(store):
    await store.publish_contracts(BOARD, [draft(number) for number in range(CONTRACTS)])
    conditions = [condition(shape) for shape in SHAPES]
    conditions += [condition(shape, column) for shape in SHAPES for column in shape]
    for each in conditions:
        with counted(opened(store)._files.reading) as steps:
            await store.find(BOARD, [each])
        assert sum(steps) < A_FEW_ROWS, each


async def test_equal_conditions_are_looked_up_once(store):
    await store.publish_contract(BOARD, draft(1))
    wanted = [condition(("kind",)), *[ContractCondition(None, None, "N1", None)] * 99]
    hub = await Hubs(store).of(BOARD)
    with counted(opened(store)._files.reading) as steps:
        found = await hub.wait_for(wanted)
    assert [contract.name for contract in found.value] == ["N1"] * 100
    begin_revision_commit = 3
    assert len(steps) == 2 + begin_revision_commit


async def test_slow_conditions_are_looked_up_in_a_thread(store):
    same_name = [
        ContractDraft(f"p{number}", ContractKind.TYPE, "T", "", "") for number in range(1000)
    ]
    await store.publish_contracts(BOARD, same_name)
    long = [ContractCondition(None, None, "T", f"pkg{number}") for number in range(100)]
    files = opened(store)._files
    with counted(files.reading) as here, counted(files.scanning) as beside:
        found = await store.find(BOARD, [*long, ContractCondition(None, None, "T", "")])
    *missing, first = found.value
    assert missing == [None] * 100
    assert first.producer == "p0"
    assert sum(here) < 2 * open_board.SHORT_QUERY
    assert sum(beside) > 10 * open_board.SHORT_QUERY


async def test_the_event_loops_connection_works_after_an_interrupted_lookup(store):
    same_name = [
        ContractDraft(f"p{number}", ContractKind.TYPE, "T", "", "") for number in range(5000)
    ]
    await store.publish_contracts(BOARD, same_name)
    for number in range(3):
        sought = ContractCondition(f"p{number}", None, None, "pkg")
        await store.find(BOARD, [ContractCondition(None, None, "T", "pkg"), sought])
        await store.publish_contract(
            BOARD, ContractDraft(f"p{number}", ContractKind.TYPE, "T", "", "pkg")
        )
        (found,), revision = await store.find(BOARD, [sought])
        assert (found.producer, revision) == (f"p{number}", number + 2)


async def test_a_commit_examines_no_waiter_that_it_does_not_concern(store, monkeypatch):
    examined = []
    committed = waiters.Waiter.committed

    def counting(self, changes):
        examined.append(self)
        committed(self, changes)

    monkeypatch.setattr(waiters.Waiter, "committed", counting)
    hub = await Hubs(store).of(BOARD)
    missing = [
        [ContractCondition(None, ContractKind.FILE, None, f"{number}") for number in range(100)],
        [ContractCondition("p0", None, None, f"{number}") for number in range(100)],
        [ContractCondition(None, None, f"{number}", None) for number in range(100)],
    ]
    met = [ContractCondition(None, None, "N7", None), ContractCondition("p0", None, "N8", "pkg0")]
    waiting = [asyncio.create_task(hub.wait_for(each)) for each in [*missing, met]]
    await asyncio.sleep(0)  # they are registered by then, for their lookups take few steps
    await store.publish_contracts(BOARD, [draft(number) for number in range(500)])
    found = await waiting.pop()
    assert [contract.name for contract in found.value] == ["N7", "N8"]
    assert len(examined) == 1
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
