"""The writer: commits waiting calls together, and keeps each call's failure its own."""

import asyncio
import threading
from contextlib import closing

import apsw
import pytest

from board_server.errors import FileAlreadyClaimed, StoreFull, StoreUnavailable
from board_server.model import ContractFilter, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore
from tests.conformance.backend import ALL, BOARD, Clock, contents, draft, revision_of


class Gate(Clock):
    """A clock that holds up whoever reads it while it is shut: the writer, in its thread."""

    def __init__(self):
        super().__init__()
        self._open = threading.Event()
        self._open.set()
        self.reached = asyncio.Event()

    def __call__(self):
        if not self._open.is_set():
            self._loop.call_soon_threadsafe(self.reached.set)
            self._open.wait()
        return super().__call__()

    def shut(self):
        self._loop = asyncio.get_running_loop()
        self.reached.clear()
        self._open.clear()

    def open(self):
        self._open.set()


@pytest.fixture
async def clock():
    gate = Gate()
    yield gate
    gate.open()


class Commits:
    """Counts the commits to the file, and fails those that it is told to."""

    def __init__(self):
        self.count = 0
        self.failing = False

    def watch(self, connection):
        connection.set_commit_hook(self)

    def __call__(self):
        self.count += 1
        return self.failing


@pytest.fixture
def commits(connection_hook):
    commits = Commits()
    connection_hook(commits.watch)
    return commits


async def together(clock, calls):
    """Let all the calls wait while the writer is at another; return how each ended."""
    clock.shut()
    first, *rest = [asyncio.ensure_future(call) for call in calls]
    await clock.reached.wait()  # the writer has begun, with at least the first of them
    clock.open()
    return await asyncio.gather(first, *rest, return_exceptions=True)


@pytest.fixture
async def store(commits, unopened):
    await unopened.open_board(BOARD)
    commits.count = 0
    return unopened


async def test_calls_that_wait_are_committed_together(store, clock, commits):
    calls = [store.claim_file(BOARD, f"{index}.go", "p") for index in range(200)]
    outcomes = await together(clock, calls)
    assert [outcome.revision for outcome in outcomes] == list(range(1, 201))
    assert commits.count <= 3


async def test_no_call_waits_for_company(store, commits):
    for index in range(10):
        await store.claim_file(BOARD, f"{index}.go", "p")
        assert commits.count == index + 1


async def test_calls_are_answered_only_after_their_commit(store, clock, file):
    calls = [store.claim_file(BOARD, f"{index}.go", "p") for index in range(20)]
    clock.shut()
    tasks = [asyncio.create_task(call) for call in calls]
    await clock.reached.wait()
    assert not any(task.done() for task in tasks)
    clock.open()
    for done in asyncio.as_completed(tasks):
        claim, revision = await done
        with closing(apsw.Connection(str(file))) as other:  # what another process sees
            assert other.execute(
                "SELECT owner_task FROM file_claims WHERE filepath = ?", (claim.filepath,)
            ).fetchone() == ("p",)
            assert other.execute("SELECT revision >= ? FROM meta", (revision,)).fetchone() == (1,)


async def test_one_calls_refusal_does_not_touch_its_neighbours(store, clock, commits):
    outcomes = await together(
        clock,
        [
            store.set_phase_state(BOARD, PhaseChange("p", PhaseState.QUEUED)),
            store.claim_file(BOARD, "a.go", "p"),
            store.claim_file(BOARD, "a.go", "q"),
            store.claim_file(BOARD, "b.go", "q"),
            store.release_claims(BOARD, "nobody", []),
            store.publish_contract(BOARD, draft("A")),
        ],
    )
    assert commits.count <= 2
    refused = outcomes.pop(2)
    assert isinstance(refused, FileAlreadyClaimed)
    assert [outcome.revision for outcome in outcomes] == [1, 2, 3, 3, 4]
    claims = (await store.list_claims(BOARD, None, ALL)).items
    assert [(claim.filepath, claim.owner) for claim in claims] == [("a.go", "p"), ("b.go", "q")]
    assert await revision_of(store) == 4


async def test_a_batch_that_fails_half_way_leaves_nothing_of_itself(store, clock, file):
    with closing(apsw.Connection(str(file))) as db:
        db.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON contracts WHEN NEW.name = 'Bad' "
            "BEGIN SELECT raise(ABORT, 'bad'); END"
        )
    outcomes = await together(
        clock,
        [
            store.publish_contract(BOARD, draft("Before")),
            store.publish_contracts(BOARD, [draft("A"), draft("Bad"), draft("C")]),
            store.publish_contract(BOARD, draft("After")),
        ],
    )
    assert isinstance(outcomes[1], StoreUnavailable)
    assert (outcomes[0].revision, outcomes[2].revision) == (1, 2)
    page = await store.list_contracts(BOARD, ContractFilter(), ALL)
    assert [contract.name for contract in page.items] == ["Before", "After"]


async def test_a_failure_that_ends_the_whole_transaction_is_told_to_all_of_it(store, clock, file):
    with closing(apsw.Connection(str(file))) as db:
        db.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON contracts WHEN NEW.name = 'Bad' "
            "BEGIN SELECT raise(ROLLBACK, 'bad'); END"
        )
    names = ["First", "Bad", "Last"]
    outcomes = await together(clock, [store.publish_contract(BOARD, draft(n)) for n in names])
    assert isinstance(outcomes[1], StoreUnavailable)
    acknowledged = [out.value for out in outcomes if not isinstance(out, StoreUnavailable)]
    assert (await store.list_contracts(BOARD, ContractFilter(), ALL)).items == acknowledged
    assert await revision_of(store) == len(acknowledged)
    assert (await store.publish_contract(BOARD, draft("Next"))).revision == len(acknowledged) + 1


async def test_when_a_commit_fails_all_its_calls_fail_and_nothing_is_changed(store, clock, commits):
    before = await contents(store)
    commits.failing = True
    outcomes = await together(
        clock, [store.claim_file(BOARD, f"{index}.go", "p") for index in range(20)]
    )
    commits.failing = False
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert await contents(store) == before
    assert (await store.claim_file(BOARD, "0.go", "p")).revision == before[0] + 1


async def test_a_call_that_is_cancelled_before_its_turn_changes_nothing(store, clock):
    clock.shut()
    first = asyncio.create_task(store.claim_file(BOARD, "first.go", "p"))
    await clock.reached.wait()
    waiting = asyncio.create_task(store.claim_file(BOARD, "waiting.go", "p"))
    await asyncio.sleep(0)  # let it queue
    waiting.cancel()
    await asyncio.wait([waiting])
    clock.open()
    await first
    assert waiting.cancelled()
    assert await store.get_file_owner(BOARD, "waiting.go") == ""
    assert await revision_of(store) == 1


async def test_a_full_disk_refuses_the_write_and_reads_go_on(connection_hook, directory):
    made = []
    connection_hook(made.append)
    store = SqliteStore(directory)
    await store.open_board(BOARD)
    await store.claim_file(BOARD, "a.go", "p")
    writing: apsw.Connection = made[0]
    writing.pragma("max_page_count", writing.pragma("page_count"))
    large = draft("Large", signature="x" * 2**20)
    for _ in range(2):
        with pytest.raises(StoreFull):
            await store.publish_contracts(BOARD, [draft("Small"), large])
    assert await store.get_file_owner(BOARD, "a.go") == "p"
    assert (await store.list_contracts(BOARD, ContractFilter(), ALL)).items == []

    writing.pragma("max_page_count", 2**30)
    assert (await store.publish_contract(BOARD, large)).revision == 2
    await store.close()
