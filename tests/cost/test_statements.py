"""What each call costs: its statements, commits, syncs and encodings.

`make bench` measures speed. These counts are the same on every machine. If a change needs a
higher count, raise it and say why in the commit message.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import pytest

from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.errors import FileAlreadyClaimed
from board_server.model import Completion, ContractDraft, ContractKind, PhaseChange, PhaseState
from board_server.rpc.limits import Holding, Limiter
from board_server.sqlite import SqliteStore, checkpoints, writer
from board_server.watch import encoded_commit
from board_server.watch.encoded_commit import ENCODED_AT_ONCE
from board_server.watch.hub import Hubs
from board_server.wire import requests
from board_server.wire.responses import encoded_event
from tests.conformance.backend import key_of

BOARD = "board"

ALONE = {"BEGIN": 1, "UPDATE meta": 1, "COMMIT": 1}
"""The statements of every commit."""


class CountingSyncs(apsw.VFS):
    """The system's VFS, which counts syncs."""

    def __init__(self) -> None:
        self.syncs = 0
        self.system = apsw.vfs_names()[0]
        super().__init__("counting-syncs", self.system, makedefault=True)

    def xOpen(self, name, flags):  # noqa: N802  apsw's name
        return CountingFile(self, name, flags)


class CountingFile(apsw.VFSFile):
    def __init__(self, vfs: CountingSyncs, name, flags) -> None:
        super().__init__(vfs.system, name, flags)
        self.vfs = vfs

    def xSync(self, flags):  # noqa: N802  apsw's name
        self.vfs.syncs += 1
        super().xSync(flags)


@pytest.fixture
def vfs():
    vfs = CountingSyncs()
    yield vfs
    vfs.unregister()


def opened(store):
    """Return the only board that the store has open."""
    (board,) = store._registry.open_boards()
    return board


@pytest.fixture
async def store(vfs, tmp_path):  # noqa: ARG001  the store's files use it
    store = SqliteStore(tmp_path)
    await store.open_board(BOARD)
    # The first commit also counts the revisions that are kept.
    await store.set_phase_state(BOARD, PhaseChange("first", PhaseState.QUEUED))
    yield store
    await store.close()


def kind(sql: str) -> str:
    """Return a statement's verb and its table: `INSERT events`."""
    while (outer := re.sub(r"\([^()]*\)", " ", sql)) != sql:
        sql = outer
    words = [word for word in sql.split() if word not in {"INTO", "IMMEDIATE"}]
    match words:
        case ["DELETE", "FROM", table, *_]:
            return f"DELETE {table}"
        case ["SELECT", *rest]:
            return f"SELECT {rest[rest.index('FROM') + 1]}"
        case [("INSERT" | "UPDATE") as verb, table, *_]:
            return f"{verb} {table}"
        case [verb, *_]:
            return verb
    raise AssertionError(sql)


@contextmanager
def counted(connection: apsw.Connection) -> Iterator[Counter[str]]:
    statements: Counter[str] = Counter()

    def count(event: dict) -> None:
        statements[kind(event["sql"])] += 1

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, count)  # at each statement's end
    yield statements
    connection.trace_v2(0, None)


def written(store: SqliteStore):
    return counted(opened(store)._files.writing)


def change(number: int) -> PhaseChange:
    return PhaseChange(f"phase{number}", PhaseState.RUNNING, "worker")


def drafts(count: int, signature: str = "") -> list[ContractDraft]:
    return [
        ContractDraft("p", ContractKind.TYPE, f"name{n}", signature, "pkg") for n in range(count)
    ]


async def test_setting_a_state_takes_two_statements_and_the_commit(store):
    with written(store) as statements:
        await store.set_phase_state(BOARD, change(1))
    assert statements == {**ALONE, "INSERT board": 1, "INSERT events": 1}


async def test_claiming_a_file_takes_two_statements_and_the_commit(store):
    with written(store) as statements:
        await store.claim_file(BOARD, "file", "p")
    assert statements == {**ALONE, "INSERT file_claims": 1, "INSERT events": 1}


async def test_a_new_contract_takes_three_statements(store):
    with written(store) as statements:
        await store.publish_contracts(BOARD, drafts(100))
    assert statements == {
        **ALONE,
        "SELECT contracts": 100,
        "INSERT contracts": 100,
        "INSERT events": 100,
    }


async def test_a_changed_contract_takes_three_statements(store):
    await store.publish_contracts(BOARD, drafts(100))
    with written(store) as statements:
        await store.publish_contracts(BOARD, drafts(100, "changed"))
    assert statements == {
        **ALONE,
        "SELECT contracts": 100,
        "UPDATE contracts": 100,
        "INSERT events": 100,
    }


async def test_an_unchanged_contract_takes_only_its_lookup(store):
    await store.publish_contracts(BOARD, drafts(100))
    with written(store) as statements:
        await store.publish_contracts(BOARD, drafts(100))
    assert statements == {"BEGIN": 1, "SELECT contracts": 100, "COMMIT": 1}


async def test_completing_a_phase_is_one_commit(store):
    await store.claim_files(BOARD, ["a", "b"], "p")
    with written(store) as statements:
        await store.complete_phase(BOARD, Completion("p", PhaseState.DONE, drafts(3)))
    assert statements == {
        **ALONE,
        "SELECT contracts": 3,
        "INSERT contracts": 3,
        "INSERT board": 1,
        "SELECT file_claims": 1,
        "DELETE file_claims": 2,
        "INSERT events": 6,
    }


async def test_calls_that_arrive_together_are_one_commit_and_one_sync(store, vfs):
    syncs = vfs.syncs
    with written(store) as statements:
        await asyncio.gather(*(store.set_phase_state(BOARD, change(n)) for n in range(32)))
    assert statements == {
        **ALONE,
        "SAVEPOINT": 32,
        "INSERT board": 32,
        "INSERT events": 32,
        "RELEASE": 32,
    }
    assert vfs.syncs - syncs == 1


async def test_calls_that_arrive_during_a_commit_share_the_next_one(store):
    first = asyncio.create_task(store.set_phase_state(BOARD, change(0)))
    await asyncio.sleep(0)  # the writer has it now
    with written(store) as statements:
        rest = [asyncio.create_task(store.set_phase_state(BOARD, change(n))) for n in range(1, 20)]
        await asyncio.gather(first, *rest)
    assert statements["COMMIT"] <= 2


async def test_a_write_is_synced_once_and_a_read_never(store, vfs):
    before = vfs.syncs
    await store.set_phase_state(BOARD, change(1))
    assert vfs.syncs - before == 1
    await store.get_phase_state(BOARD, "phase1")
    await store.get_file_owner(BOARD, "file")
    assert vfs.syncs - before == 1


async def test_a_call_that_changes_nothing_is_synced_only_if_it_has_a_key(store, vfs):
    await store.claim_file(BOARD, "a.go", "p")
    before = vfs.syncs
    for key, syncs in ((None, 0), (key_of("1"), 1), (key_of("1"), 1)):
        await store.release_claims(BOARD, "q", [], key=key)
        assert vfs.syncs - before == syncs
    before = vfs.syncs
    for key, syncs in ((None, 0), (key_of("2"), 1), (key_of("2"), 1)):
        with pytest.raises(FileAlreadyClaimed):
            await store.claim_file(BOARD, "a.go", "q", key=key)
        assert vfs.syncs - before == syncs


async def test_an_idempotency_key_takes_four_statements_and_no_commit_of_its_own(store):
    with written(store) as statements:
        await store.set_phase_state(BOARD, change(1), key_of("1"))
    assert statements == {
        **ALONE,
        "SELECT requests": 3,  # the lookup of the key, and the size of the table
        "INSERT board": 1,
        "INSERT events": 1,
        "INSERT requests": 1,
    }


async def test_a_point_read_is_one_statement_on_the_event_loops_connection(store):
    with counted(opened(store)._files.reading) as statements:
        await store.get_phase_state(BOARD, "first")
        await store.get_file_owner(BOARD, "file")
    assert statements == {"SELECT board": 1, "SELECT file_claims": 1}


async def test_no_call_waits_for_a_checkpoint_and_the_wal_stays_small(store, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "LONG", 50)
    monkeypatch.setattr(opened(store)._writer._log, "_long", 50)
    wal = tmp_path / "board.board.db-wal"
    for turn in range(100):
        await store.publish_contracts(BOARD, drafts(20, "x" * 200 + str(turn)))
    assert wal.stat().st_size < 2 * 50 * 4096


async def test_an_idle_writer_checkpoints_the_wal(store, monkeypatch):
    monkeypatch.setattr(checkpoints, "PAGES", 1)
    monkeypatch.setattr(writer, "IDLE", 0.0)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    log = opened(store)._writer._log
    checkpoint = log.checkpoint

    def make() -> None:
        checkpoint()
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(log, "checkpoint", make)
    await store.set_phase_state(BOARD, change(1))
    async with asyncio.timeout(10):
        await done.wait()
    assert len(set(checkpointed(opened(store)._files.reading))) == 1


def checkpointed(connection) -> tuple[int, int]:
    """Return how many pages the WAL has, and how many of them have been checkpointed."""
    while True:
        try:
            return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            continue  # the writer is making a checkpoint


async def test_a_large_commit_is_encoded_in_steps(store, monkeypatch):
    loop = asyncio.get_running_loop()
    turn = 0
    in_turn: Counter[int] = Counter()

    def count_turns():
        nonlocal turn
        turn += 1
        counting.append(loop.call_soon(count_turns))

    def encode(*args):
        in_turn[turn] += 1
        return encoded_event(*args)

    counting: list[asyncio.Handle] = []
    monkeypatch.setattr(encoded_commit, "encoded_event", encode)
    followed = await Hubs(store).of(BOARD)
    sent: asyncio.Queue[bytes] = asyncio.Queue()
    kinds = [["contract"], ["contract", "phase"], []]
    watches = [
        asyncio.create_task(followed.watch(watched(*each), sent.put, holding())) for each in kinds
    ]
    for _ in watches:
        await sent.get()
    count_turns()
    await store.publish_contracts(BOARD, drafts(2_000))
    messages = [pb.WatchResponse.FromString(await sent.get()) for _ in watches]
    counting[-1].cancel()
    for watch in watches:
        watch.cancel()
    assert {len(message.events) for message in messages} == {2_000}
    assert sum(in_turn.values()) == 2_000
    assert max(in_turn.values()) <= ENCODED_AT_ONCE


async def test_a_watch_that_is_cancelled_during_a_large_commit_delays_no_other(store, monkeypatch):
    begun = asyncio.Event()

    def encode(*args):
        begun.set()
        return encoded_event(*args)

    monkeypatch.setattr(encoded_commit, "encoded_event", encode)
    followed = await Hubs(store).of(BOARD)
    sent: list[asyncio.Queue[bytes]] = [asyncio.Queue(), asyncio.Queue()]
    first, second = (
        asyncio.create_task(followed.watch(watched(), queue.put, holding())) for queue in sent
    )
    for queue in sent:
        await queue.get()
    await store.publish_contracts(BOARD, drafts(2_000))
    await begun.wait()
    first.cancel()  # it encodes the commit, and the other one waits for that
    message = pb.WatchResponse.FromString(await sent[1].get())
    assert len(message.events) == 2_000
    assert sent[0].empty()
    second.cancel()


def watched(*kinds):
    numbers = [pb.EventKind.Value(f"EVENT_KIND_{kind.upper()}") for kind in kinds]
    return requests.watch(pb.WatchRequest(board=BOARD, kinds=numbers))


def holding():
    return Holding(Limiter(Config().limits), None, "w", None)


async def test_a_commit_is_encoded_once_for_a_hundred_watchers(store, monkeypatch):
    encodings = []
    monkeypatch.setattr(
        encoded_commit,
        "encoded_event",
        lambda *args: encodings.append(args) or encoded_event(*args),
    )
    watched = requests.watch(pb.WatchRequest(board=BOARD))
    followed = await Hubs(store).of(BOARD)
    received: list[list[bytes]] = [[] for _ in range(100)]
    all_started, all_received = asyncio.Event(), asyncio.Event()

    def sender(mine: list[bytes]):
        async def send(message: bytes) -> None:
            mine.append(message)
            if all(received):
                all_started.set()
            if all(len(messages) == 2 for messages in received):
                all_received.set()

        return send

    async with asyncio.TaskGroup() as group:
        watches = [
            group.create_task(followed.watch(watched, sender(mine), holding())) for mine in received
        ]
        await all_started.wait()
        await store.publish_contracts(BOARD, drafts(10))
        await all_received.wait()
        for watch in watches:
            watch.cancel()
    assert len(encodings) == 10
    first, *others = (messages[1] for messages in received)
    assert all(message == first for message in others)
