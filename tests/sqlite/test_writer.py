"""The writer: group commit, and the isolation of failures."""

import asyncio
import sys
import threading
from contextlib import closing

import apsw
import pytest

from board_server.errors import FileAlreadyClaimed, StoreFull, StoreUnavailable
from board_server.model import ContractFilter, PhaseChange, PhaseState, Revised
from board_server.sqlite import SqliteStore, checkpoints, group_commit, writer
from board_server.sqlite.checkpoints import Checkpoints
from tests.conformance.backend import ALL, BOARD, Clock, Deaf, contents, draft, revision_of


class Gate(Clock):
    """A clock that blocks its reader, the writer's thread, while it is shut."""

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
    """Counts the commits to the file, and fails those that the test selects."""

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
    """Queue all the calls while the writer runs another; return the outcome of each."""
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


async def test_a_single_call_is_committed_at_once(store, commits):
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


async def test_the_refusal_of_a_call_does_not_affect_others_in_its_commit(store, clock, commits):
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


async def test_a_batch_that_fails_half_way_changes_nothing(store, clock, file):
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


async def test_a_failure_that_ends_the_whole_transaction_fails_all_its_calls(store, clock, file):
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


async def test_a_call_that_is_cancelled_while_the_writer_does_another_changes_nothing(
    store, clock, commits
):
    """A server that shuts down waits for the current call, not for all calls of the commit."""
    clock.shut()
    first, second, third = (
        asyncio.ensure_future(store.set_phase_state(BOARD, PhaseChange(phase, PhaseState.DONE)))
        for phase in ("p", "q", "r")
    )
    await clock.reached.wait()  # the writer runs the first
    second.cancel()
    await asyncio.wait([second])
    clock.open()
    await asyncio.gather(first, third)
    assert await store.get_phase_state(BOARD, "q") is None
    assert await revision_of(store) == 2
    assert commits.count == 1


async def test_a_full_disk_refuses_the_write_and_reads_continue(connection_hook, directory):
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


def failures(caplog):
    """Return the logged failures of the writer, each with its traceback."""
    found = [record for record in caplog.records if "writer" in record.getMessage()]
    assert all(record.exc_info for record in found)
    return [record.exc_info[1] for record in found]


class Broken(Exception):
    """An unexpected error."""


class Breaks:
    """Raises an error when it is first called; after that it calls `then`."""

    def __init__(self, error=Broken, then=lambda *_: None):
        self._error, self._then = error, then
        self.broke = threading.Event()

    def __call__(self, *arguments):
        if self.broke.is_set():
            return self._then(*arguments)
        self.broke.set()
        raise self._error


@pytest.fixture
async def broken(directory, clock):
    """A store in which one part fails once: on_commit, or a step of the thread."""
    store = SqliteStore(directory, clock=clock, on_commit=Breaks())
    await store.open_board(BOARD)
    yield store
    await store.close()


async def test_if_the_writer_fails_every_call_is_answered_and_the_next_succeeds(
    broken, clock, caplog
):
    outcomes = await together(clock, [broken.claim_file(BOARD, f"{n}.go", "p") for n in range(300)])
    done = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
    assert done
    assert all(isinstance(o, (Revised, StoreUnavailable)) for o in outcomes)
    assert (await broken.claim_file(BOARD, "next.go", "p")).revision == len(done) + 1
    claims = (await broken.list_claims(BOARD, None, ALL)).items
    assert {claim.filepath for claim in claims} == {*(f"{n}.go" for n in done), "next.go"}
    assert [type(error) for error in failures(caplog)] == [Broken]


@pytest.mark.parametrize("point", ["before-commit", "after-commit"])
async def test_if_the_writer_dies_in_a_commit_the_outcome_of_its_calls_is_unknown(
    store, monkeypatch, point, caplog
):
    dies = Breaks(SystemExit)

    def failpoint(at):
        if at == point:
            dies()

    monkeypatch.setattr(group_commit, "failpoint", failpoint)
    with pytest.raises(RuntimeError, match="in a commit"):
        await asyncio.wait_for(store.claim_file(BOARD, "doubt.go", "p"), 60)
    owner = "p" if point == "after-commit" else ""
    assert await store.get_file_owner(BOARD, "doubt.go") == owner
    assert (await store.claim_file(BOARD, "next.go", "p")).revision == (2 if owner else 1)
    assert [type(error) for error in failures(caplog)] == [SystemExit]


async def test_after_a_checkpoint_fails_unexpectedly_the_next_call_succeeds(
    store, monkeypatch, caplog
):
    monkeypatch.setattr(writer, "IDLE", 0.0)
    monkeypatch.setattr(checkpoints, "PAGES", 1)
    make = Breaks(then=Checkpoints.checkpoint)
    monkeypatch.setattr(Checkpoints, "checkpoint", lambda log: make(log))  # noqa: PLW0108  to be bound
    await store.claim_file(BOARD, "a.go", "p")
    assert await asyncio.to_thread(make.broke.wait, 60)
    assert (await asyncio.wait_for(store.claim_file(BOARD, "b.go", "p"), 60)).revision == 2
    assert [type(error) for error in failures(caplog)] == [Broken]


async def test_a_follower_that_raises_is_ended_and_the_calls_are_answered(store, clock, caplog):
    class Fails(Deaf):
        ended_with = None

        committed = Breaks()

        def ended(self, error):
            self.ended_with = error

    follower = Fails()
    await store.follow(BOARD, follower)
    outcomes = await together(clock, [store.claim_file(BOARD, f"{n}.go", "p") for n in range(9)])
    assert [outcome.revision for outcome in outcomes] == list(range(1, 10))
    assert (await store.claim_file(BOARD, "next.go", "p")).revision == 10
    assert isinstance(follower.ended_with, StoreUnavailable)
    assert [type(error) for error in failures(caplog)] == [Broken]


def test_a_writer_whose_event_loop_is_closed_commits_and_ends(directory):
    store = SqliteStore(directory, clock=(gate := Gate()))

    async def write():
        await store.open_board(BOARD)
        gate.shut()
        task = asyncio.create_task(store.claim_file(BOARD, "a.go", "p"))
        await gate.reached.wait()
        task.cancel()

    asyncio.run(write())
    (thread,) = [each for each in threading.enumerate() if each.name == f"writer {BOARD}"]
    gate.open()
    thread.join(60)
    assert not thread.is_alive()


async def test_any_number_of_callers_may_cancel_before_their_turn(
    store, clock, monkeypatch, caplog
):
    monkeypatch.setattr(writer, "MAX_BATCH", 1)
    clock.shut()
    first = asyncio.create_task(store.claim_file(BOARD, "first.go", "p"))
    await clock.reached.wait()
    waiting = [
        asyncio.create_task(store.claim_file(BOARD, f"{n}.go", "p"))
        for n in range(2 * sys.getrecursionlimit())
    ]
    await asyncio.sleep(0)  # let them queue
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    clock.open()
    assert (await first).revision == 1
    assert (await store.claim_file(BOARD, "next.go", "p")).revision == 2
    assert failures(caplog) == []
