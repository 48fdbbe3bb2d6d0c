"""The store keeps the events of as many revisions as it is set to."""

import asyncio
from contextlib import closing

import apsw
import pytest

from board_server.errors import RevisionCompacted
from board_server.model import ContractFilter
from board_server.sqlite import SqliteStore, events
from board_server.sqlite.audit import differences
from tests.conformance.backend import ALL, BOARD, contents, draft, key_of
from tests.conformance.events import history, listening
from tests.faults.soak import scaled

KEEP = 20


@pytest.fixture
def keep(directory, clock):
    """Open the directory's store with these limits of retention."""

    def keep(revisions, size=2**28):
        return SqliteStore(directory, keep_revisions=revisions, keep_bytes=size, clock=clock)

    return keep


@pytest.fixture
async def store(keep):
    store = keep(KEEP)
    await store.open_board(BOARD)
    yield store
    await store.close()


async def write(store, count, start=0):
    for number in range(start, start + count):
        await store.claim_file(BOARD, f"{number}.go", "p")


async def oldest(store):
    """Return the oldest revision to read from, from the error for an older one."""
    with pytest.raises(RevisionCompacted) as caught:
        await store.list_events(BOARD, 0, 1)
    return caught.value.oldest


def rows(file):
    with closing(apsw.Connection(str(file))) as db:
        return db.execute("SELECT count(*), min(revision), max(revision) FROM events").fetchone()


async def test_nothing_is_dropped_before_there_is_more_than_is_kept(store):
    await write(store, KEEP)
    assert len(await history(store)) == KEEP


async def test_the_last_revisions_are_kept_however_many_came_before(store):
    await write(store, 5 * KEEP)
    commits = await history(store, after=4 * KEEP)
    assert [commit.revision for commit in commits] == list(range(4 * KEEP + 1, 5 * KEEP + 1))


async def test_not_much_more_is_kept_than_was_asked_for(store, file):
    for number in range(5 * KEEP):
        await write(store, 1, number)
        count, _, last = rows(file)
        assert last == number + 1
        assert count <= KEEP + KEEP // 10


async def test_the_refusal_of_a_revision_names_the_oldest_that_works(store):
    await write(store, 5 * KEEP)
    first = await oldest(store)
    commits = await history(store, after=first)
    assert commits[0].revision == first + 1
    with pytest.raises(RevisionCompacted) as caught:
        await store.list_events(BOARD, first - 1, 5 * KEEP)
    assert caught.value.oldest == first


async def test_followers_receive_every_event_whatever_is_kept(keep):
    store = keep(1)
    await store.open_board(BOARD)
    listener = await listening(store)
    await asyncio.gather(*(store.claim_file(BOARD, f"{number}.go", "p") for number in range(100)))
    assert listener.revisions == list(range(1, 101))
    assert len(await history(store, after=99)) == 1
    await store.close()


async def test_deleted_events_stay_deleted_after_a_reopening(store, keep):
    await write(store, 5 * KEEP)
    first = await oldest(store)
    await store.close()
    again = keep(1000)
    assert await oldest(again) == first
    assert (await history(again, after=first))[0].revision == first + 1
    await again.close()


async def test_a_store_with_a_smaller_limit_deletes_the_rest_at_the_next_change(keep, file):
    store = keep(1000)
    await store.open_board(BOARD)
    await write(store, 50)
    await store.close()
    store = keep(5)
    await write(store, 1, 50)
    assert rows(file) == (5, 47, 51)
    await store.close()


async def test_deleting_events_deletes_no_record(store):
    batch = [draft(f"{number}") for number in range(10)]
    await store.publish_contracts(BOARD, batch)
    await write(store, 5 * KEEP)
    page = await store.list_contracts(BOARD, ContractFilter(), ALL)
    assert [contract.name for contract in page.items] == [contract.name for contract in batch]
    assert (await contents(store))[0] == 5 * KEEP + 1


async def test_the_events_of_a_revision_are_kept_or_deleted_together(store, file):
    for number in range(3 * KEEP):
        await store.claim_files(BOARD, [f"{number}.{part}" for part in range(7)], "p")
    count, first, last = rows(file)
    assert count == 7 * (last - first + 1)


KILOBYTE = "x" * 1000


async def publish(store, count, size=64):
    """Publish a contract of this size, in kilobytes, this many times."""
    for number in range(count):
        contract = draft("T", signature=f"{number}{KILOBYTE * size}")
        await store.publish_contract(BOARD, contract, key=key_of(f"{number}"))


def sizes(file):
    """Return the bytes of events, as stored and as counted, and the bytes of replies."""
    with closing(apsw.Connection(str(file))) as db:
        return db.execute(
            "SELECT (SELECT sum(octet_length(record)) FROM events), event_bytes, "
            "(SELECT sum(octet_length(reply)) FROM requests) FROM meta"
        ).fetchone()


async def test_events_and_replies_are_kept_up_to_a_size(keep, file):
    bound = scaled(2**20, 2**26)
    store = keep(100_000, bound)
    await store.open_board(BOARD)
    await publish(store, scaled(100, 1000), scaled(64, 1024))
    kept, counted, replies = sizes(file)
    assert 0.9 * bound < kept <= counted <= 1.1 * bound
    assert 0.4 * bound < replies <= 0.58 * bound
    await store.close()
    assert file.stat().st_size < 2 * bound
    assert [*_differences(file)] == []


async def test_events_dropped_for_their_size_are_reported_as_compacted(keep):
    store = keep(100_000, 2**20)
    await store.open_board(BOARD)
    await publish(store, 100)
    first = await oldest(store)
    assert 80 < first < 100
    commits = await history(store, after=first)
    assert [commit.revision for commit in commits] == list(range(first + 1, 101))
    await store.close()


async def test_the_last_revision_is_kept_whatever_its_size(keep, file):
    store = keep(100_000, 1)
    await store.open_board(BOARD)
    await publish(store, 3)
    assert rows(file) == (1, 3, 3)
    await store.close()


async def test_no_commit_drops_much_more_than_it_adds(keep, file, connection_hook, monkeypatch):
    monkeypatch.setattr(events, "MIN_DROP", step := 2**15)
    store = keep(100_000)
    await store.open_board(BOARD)
    for batch in range(5):  # each of them more than one commit may drop
        await store.claim_files(BOARD, [f"{batch}/{n}.go" for n in range(400)], "p")
    await store.close()
    dropped = []

    def watch(connection):
        def trace(event):
            if event["sql"].startswith("DELETE FROM events"):
                dropped.append(connection.changes())

        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, trace)

    connection_hook(watch)
    store = keep(2)
    while rows(file)[0] > KEEP:
        await store.claim_file(BOARD, f"{len(dropped)}.new", "p")
        assert [*_differences(file)] == []
    assert len(dropped) > 5
    assert max(dropped) * events.ROW_OVERHEAD < step + events.ROW_OVERHEAD
    await store.close()


async def test_outcomes_of_calls_are_forgotten_oldest_first_and_in_small_steps(keep, file):
    store = keep(100_000, 2**20)
    await store.open_board(BOARD)
    for start in range(0, 600, 20):  # each counts for at least 1 KiB, of 512
        keys = [key_of(f"{number}") for number in range(start, start + 20)]
        await asyncio.gather(*(store.release_claims(BOARD, "p", [], key) for key in keys))
    with closing(apsw.Connection(str(file))) as db:
        kept = [int(id_) for (id_,) in db.execute("SELECT request_id FROM requests ORDER BY 1 + 0")]
    assert sorted(kept) == list(range(600 - len(kept), 600))
    assert 490 < len(kept) <= 520
    await store.claim_file(BOARD, "a.go", "p")
    assert (await store.release_claims(BOARD, "p", [], key=key_of("599"))).value == 0
    assert (await store.release_claims(BOARD, "p", [], key=key_of("0"))).value == 1  # dropped
    await store.close()


def _differences(file):
    with closing(apsw.Connection(str(file))) as db:
        yield from differences(db)
