"""Lists and snapshots from the watch cache equal those of the store at every revision."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_client.v1 import board_pb2 as pb
from board_server.errors import BoardNotFound, ShuttingDown
from board_server.model import (
    Cause,
    Change,
    Commit,
    Completion,
    ContractDraft,
    ContractKind,
    Event,
    OnExpiry,
    PhaseChange,
    PhaseState,
)
from board_server.sqlite import SqliteStore
from board_server.watch import cache, cache_pool
from board_server.watch.cache_pool import CachePool
from board_server.watch.hub import Hubs
from board_server.wire import lists, responses

BOARD = "board"


class Reader:
    """A store with its caches, and reads from both."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.hubs = Hubs(store)
        self.caches = CachePool(store, self.hubs)

    async def loaded(self) -> "Reader":
        """Return once the cache is loaded."""
        await self.caches.snapshot(BOARD)
        await self.caches._tasks.finished()
        return self

    async def cache(self) -> cache.Cache | None:
        """Return the board's cache, if it has one."""
        return self.caches._slots[await self.hubs.of(BOARD)].cache

    async def listed(
        self, size: int = 0, token: str = "", board: str = BOARD
    ) -> pb.ListContractsResponse | None:
        request = pb.ListContractsRequest(board=board, page_size=size, page_token=token)
        encoded = await self.caches.list_contracts(board, lists.list_contracts(request)[0])
        return None if encoded is None else pb.ListContractsResponse.FromString(encoded)

    async def stored(self, size: int = 0, token: str = "") -> pb.ListContractsResponse:
        request = pb.ListContractsRequest(board=BOARD, page_size=size, page_token=token)
        listed, where = lists.list_contracts(request)
        page = await self.store.list_contracts(BOARD, where, listed.page)
        return pb.ListContractsResponse(
            contracts=map(responses.contract, page.items),
            next_page_token=listed.token(page.next),
            revision=page.revision,
        )

    async def cached_snapshot(self) -> pb.GetSnapshotResponse:
        parts = await self.caches.snapshot(BOARD)
        assert parts is not None
        return pb.GetSnapshotResponse.FromString(b"".join((*parts.parts, parts.head)))

    async def stored_snapshot(self) -> pb.GetSnapshotResponse:
        parts = responses.snapshot_parts(await self.store.get_snapshot(BOARD))
        return pb.GetSnapshotResponse.FromString(b"".join(p.SerializeToString() for p in parts))


@asynccontextmanager
async def reader_of(directory: Path) -> AsyncIterator[Reader]:
    store = SqliteStore(directory, synchronous="normal")
    await store.open_board(BOARD)
    reader = Reader(store)
    try:
        yield reader
    finally:
        await reader.caches.close()
        await store.close()


@pytest.fixture
async def reader(tmp_path):
    async with reader_of(tmp_path) as reader:
        yield reader


def draft(name: str, signature: str = "", producer: str = "p") -> ContractDraft:
    return ContractDraft(producer, ContractKind.TYPE, name, signature, "pkg")


def without_expiry(snapshot: pb.GetSnapshotResponse) -> pb.GetSnapshotResponse:
    """Clear the times of expiry, which differ between two readings of the clock."""
    for session in snapshot.sessions:
        session.ClearField("expires_at")
    return snapshot


async def test_the_first_list_comes_from_the_store_and_the_next_from_the_cache(reader):
    await reader.store.publish_contracts(BOARD, [draft("a"), draft("b")])
    assert await reader.listed() is None
    await reader.caches._tasks.finished()
    assert await reader.listed() == await reader.stored()


async def test_a_list_right_after_a_publish_has_the_contract(reader):
    await reader.loaded()
    for number in range(60):
        await reader.store.publish_contract(BOARD, draft(f"name{number % 7}", str(number)))
        listed = await reader.listed()
        assert str(number) in {contract.signature for contract in listed.contracts}
        assert listed == await reader.stored()


async def test_a_list_never_lags_behind_another_read(reader, monkeypatch):
    # A commit is in the file before followers receive it. After a read that shows a phase DONE,
    # a list must show its contracts.
    await reader.loaded()
    writer = next(iter(reader.store._registry.open_boards()))._writer
    held = []
    committed = asyncio.Event()
    answer = writer._answer

    def hold(*answers):
        held.append(answers)
        committed.set()

    monkeypatch.setattr(writer, "_answer", hold)
    completion = Completion("p", PhaseState.DONE, [draft("made")])
    completing = asyncio.create_task(reader.store.complete_phase(BOARD, completion))
    await committed.wait()
    assert (await reader.store.get_phase_state(BOARD, "p")).state is PhaseState.DONE

    listing = asyncio.create_task(reader.listed())
    taking = asyncio.create_task(reader.cached_snapshot())
    for _ in range(100):  # iterations of the loop; an answer from the cache needs only a few
        await asyncio.sleep(0)
    assert not listing.done(), "answered from an earlier revision"
    assert not taking.done()
    for answers in held:
        answer(*answers)
    assert [contract.name for contract in (await listing).contracts] == ["made"]
    assert [contract.name for contract in (await taking).contracts] == ["made"]
    await completing


async def test_pages_have_every_contract_once(reader):
    await reader.store.publish_contracts(BOARD, [draft(f"name{n}") for n in range(25)])
    await reader.loaded()
    names, token = [], ""
    while True:
        page = await reader.listed(size=10, token=token)
        assert page == await reader.stored(size=10, token=token)
        names += [contract.name for contract in page.contracts]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"name{n}" for n in range(25)]


async def test_long_signatures_make_shorter_pages(reader):
    long = [draft(f"name{n}", "x" * 2**20) for n in range(8)]
    await reader.store.publish_contracts(BOARD, long)
    await reader.loaded()
    page = await reader.listed()
    assert 0 < page.ByteSize() < 4 * 2**20
    assert page.next_page_token
    rest = await reader.listed(token=page.next_page_token)
    assert rest.contracts[0].id == page.contracts[-1].id + 1


async def test_parts_of_a_snapshot_stay_under_a_mebibyte(reader):
    drafts = [draft(f"name{n}", "x" * 10_000) for n in range(300)]
    await reader.store.publish_contracts(BOARD, drafts)
    await reader.loaded()
    parts, head = await reader.caches.snapshot(BOARD)
    parts = [part + head for part in parts]
    assert len(parts) > 3
    assert max(map(len, parts)) < 2**20
    revisions = {pb.GetSnapshotResponse.FromString(part).revision for part in parts}
    assert revisions == {1}
    assert await reader.cached_snapshot() == await reader.stored_snapshot()


async def test_a_board_that_is_too_large_is_read_from_the_store(reader, monkeypatch):
    monkeypatch.setattr(cache_pool, "BUDGET", 5_000)
    await reader.store.publish_contracts(BOARD, [draft(f"name{n}") for n in range(100)])
    await reader.loaded()
    assert await reader.listed() is None
    assert not reader.caches._tasks._tasks, "it would be loaded again and again"


async def test_if_boards_do_not_fit_together_the_least_recently_read_is_evicted(
    reader, monkeypatch
):
    for board in (BOARD, "other"):
        await reader.store.open_board(board)
        await reader.store.publish_contracts(board, [draft(f"name{n}") for n in range(100)])
    await reader.loaded()
    alone = (await reader.cache()).weight
    monkeypatch.setattr(cache_pool, "BUDGET", int(1.5 * alone))
    await reader.listed(board="other")
    await reader.caches._tasks.finished()
    assert len((await reader.listed(board="other")).contracts) == 100
    assert await reader.cache() is None


async def test_caches_of_many_boards_are_loaded_one_at_a_time(reader, monkeypatch):
    """Loaded concurrently, they could take more memory than the budget."""
    load, loading, most = cache.Cache.load, set(), 0

    async def counted(self, *args):
        nonlocal most
        loading.add(self)
        most = max(most, len(loading))
        fits = await load(self, *args)
        loading.discard(self)
        return fits

    monkeypatch.setattr(cache.Cache, "load", counted)
    for board in "abc":
        await reader.store.open_board(board)
    for board in "abc":
        await reader.listed(board=board)
    await reader.caches._tasks.finished()
    assert [len((await reader.listed(board=board)).contracts) for board in "abc"] == [0, 0, 0]
    assert most == 1


async def test_closing_a_board_stops_the_loading_of_its_cache(reader, monkeypatch):
    begun = asyncio.Event()

    async def load_forever(*_):
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(cache.Cache, "load", load_forever)
    await reader.listed()
    await begun.wait()
    (task,) = reader.caches._tasks._tasks
    (await reader.hubs.of(BOARD)).ended(ShuttingDown())
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_cache_that_is_not_read_is_dropped(reader, monkeypatch):
    monkeypatch.setattr(cache, "MAX_UNREAD", 10)
    await reader.loaded()
    for turn in range(10):
        await reader.store.publish_contract(BOARD, draft("a", str(turn)))
    assert await reader.cache() is None


async def test_an_event_that_a_cache_does_not_know_makes_it_load_the_board_again(reader):
    await reader.store.publish_contract(BOARD, draft("a"))
    await reader.loaded()
    hub = await reader.hubs.of(BOARD)
    phase, revision = await reader.store.set_phase_state(BOARD, PhaseChange("p", PhaseState.DONE))
    unknown = Event(Change.CONTRACT, Cause.ARCHIVE, phase)
    hub.committed(Commit(revision + 1, phase.updated_at, (unknown,)))
    assert await reader.cache() is None
    await reader.loaded()
    assert [contract.name for contract in (await reader.listed()).contracts] == ["a"]


async def test_a_new_board_of_the_same_name_is_not_mistaken_for_the_old_one(reader, tmp_path):
    await reader.store.publish_contract(BOARD, draft("old"))
    await reader.loaded()
    for file in tmp_path.glob("board.board.db*"):
        file.unlink()
    with pytest.raises(BoardNotFound):
        await reader.listed()
    await reader.store.open_board(BOARD)
    await reader.store.publish_contract(BOARD, draft("new"))
    await reader.loaded()
    assert [contract.name for contract in (await reader.listed()).contracts] == ["new"]


async def test_a_snapshot_has_the_current_expiry_of_sessions(reader):
    session, _ = await reader.store.open_session(
        BOARD, "worker", timedelta(seconds=60), OnExpiry.FAIL
    )
    await reader.loaded()
    first = (await reader.cached_snapshot()).sessions[0].expires_at
    await reader.store.renew_session(BOARD, session.session_id)
    second = (await reader.cached_snapshot()).sessions[0].expires_at
    assert second.ToNanoseconds() > first.ToNanoseconds()


async def test_a_cache_has_what_is_written_while_it_loads(reader, monkeypatch):
    monkeypatch.setattr(cache, "LOADED_AT_ONCE", 10)
    await reader.store.publish_contracts(BOARD, [draft(f"name{n}") for n in range(200)])
    await reader.store.claim_files(BOARD, [f"file{n}" for n in range(50)], "p")
    loading = asyncio.create_task(reader.loaded())
    for turn in range(40):
        await reader.store.publish_contract(BOARD, draft(f"name{turn}", f"changed{turn}"))
        await reader.store.release_claims(BOARD, "p", [f"file{turn}"])
    await loading
    assert await reader.cached_snapshot() == await reader.stored_snapshot()


async def test_a_repeated_list_is_neither_encoded_nor_copied(reader, monkeypatch):
    await reader.store.publish_contracts(BOARD, [draft(f"name{n}") for n in range(100)])
    await reader.loaded()
    listed, _ = lists.list_contracts(pb.ListContractsRequest(board=BOARD))
    first = await reader.caches.list_contracts(BOARD, listed)
    encodings = []
    entry = responses.entry
    monkeypatch.setattr(
        (await reader.cache())._contracts,
        "_encode",
        lambda record: encodings.append(record) or entry(record),
    )
    assert await reader.caches.list_contracts(BOARD, listed) is first

    await reader.store.publish_contract(BOARD, draft("name7", "changed"))
    assert await reader.caches.list_contracts(BOARD, listed) is not first
    assert [record.name for record in encodings] == ["name7"], (
        "only the changed contract is encoded"
    )


names = st.sampled_from(["a", "b", "é", "\U0001f600", "\uffee", "z/y"])
operations = st.one_of(
    st.tuples(st.just("phase"), names, st.sampled_from([*PhaseState][1:])),
    st.tuples(st.just("publish"), st.lists(st.tuples(names, names, names), max_size=4)),
    st.tuples(st.just("claim"), names, names),
    st.tuples(st.just("release"), names),
    st.tuples(st.just("session"), names),
    st.tuples(st.just("end"), st.integers(0, 3)),
    st.tuples(st.just("read"), st.integers(1, 5)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(operations, max_size=25))
def test_after_any_writes_the_cache_equals_the_store(script):
    async def run() -> None:
        with TemporaryDirectory() as directory:
            async with reader_of(Path(directory)) as reader:
                await reader.loaded()
                sessions: list[str] = []
                for step in script:
                    await do(reader, sessions, step)
                snapshot = await reader.cached_snapshot()
                assert without_expiry(snapshot) == without_expiry(await reader.stored_snapshot())

    asyncio.run(run())


async def do(reader: Reader, sessions: list[str], step: Sequence) -> None:
    store = reader.store
    match step:
        case "phase", name, state:
            await store.set_phase_state(BOARD, PhaseChange(name, state, name, None))
        case "publish", contracts:
            drafts = [draft(name, signature, by) for by, name, signature in contracts]
            await store.publish_contracts(BOARD, drafts)
        case "claim", path, owner:
            if await store.get_file_owner(BOARD, path) in {"", owner}:
                await store.claim_file(BOARD, path, owner, sessions[-1] if sessions else "")
        case "release", owner:
            await store.release_claims(BOARD, owner, [])
        case "session", worker:
            opened, _ = await store.open_session(
                BOARD, worker, timedelta(seconds=60), OnExpiry.REQUEUE
            )
            sessions.append(opened.session_id)
        case "end", index:
            if index < len(sessions):
                await store.close_session(BOARD, sessions.pop(index))
        case "read", size:
            assert await reader.listed(size=size) == await reader.stored(size=size)


async def test_the_number_of_pages_that_are_kept_is_bounded(reader):
    await reader.store.publish_contracts(BOARD, [draft(f"name{n}") for n in range(3)])
    await reader.loaded()
    for size in range(1, 3 * cache.MAX_REPLIES):
        assert (await reader.listed(size)).contracts
        assert len((await reader.cache())._replies) <= cache.MAX_REPLIES
