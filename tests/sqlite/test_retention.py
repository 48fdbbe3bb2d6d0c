"""Events are kept for the last revisions, as many as the store is told, and no longer."""

import asyncio
from contextlib import closing

import apsw
import pytest

from board_server.errors import RevisionCompacted
from board_server.model import ContractFilter
from board_server.sqlite import SqliteStore
from tests.conformance.backend import ALL, BOARD, contents, draft
from tests.conformance.events import history, listening

KEEP = 20


@pytest.fixture
def keep(directory, clock):
    """Open the directory's store, to keep so many revisions."""

    def keep(revisions):
        return SqliteStore(directory, keep_revisions=revisions, clock=clock)

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
    """The oldest revision to read from, as the refusal of an older one tells."""
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


async def test_the_refusal_of_a_revision_tells_the_oldest_that_works(store):
    await write(store, 5 * KEEP)
    first = await oldest(store)
    commits = await history(store, after=first)
    assert commits[0].revision == first + 1
    with pytest.raises(RevisionCompacted) as caught:
        await store.list_events(BOARD, first - 1, 5 * KEEP)
    assert caught.value.oldest == first


async def test_followers_hear_of_everything_whatever_is_kept(keep):
    store = keep(1)
    await store.open_board(BOARD)
    listener = await listening(store)
    await asyncio.gather(*(store.claim_file(BOARD, f"{number}.go", "p") for number in range(100)))
    assert listener.revisions == list(range(1, 101))
    assert len(await history(store, after=99)) == 1
    await store.close()


async def test_what_is_dropped_stays_dropped_after_a_reopening(store, keep):
    await write(store, 5 * KEEP)
    first = await oldest(store)
    await store.close()
    again = keep(1000)
    assert await oldest(again) == first
    assert (await history(again, after=first))[0].revision == first + 1
    await again.close()


async def test_a_store_that_is_told_to_keep_less_drops_the_rest_at_the_next_change(keep, file):
    store = keep(1000)
    await store.open_board(BOARD)
    await write(store, 50)
    await store.close()
    store = keep(5)
    await write(store, 1, 50)
    assert rows(file) == (5, 47, 51)
    await store.close()


async def test_the_board_itself_loses_nothing(store):
    batch = [draft(f"{number}") for number in range(10)]
    await store.publish_contracts(BOARD, batch)
    await write(store, 5 * KEEP)
    page = await store.list_contracts(BOARD, ContractFilter(), ALL)
    assert [contract.name for contract in page.items] == [contract.name for contract in batch]
    assert (await contents(store))[0] == 5 * KEEP + 1


async def test_a_revision_of_many_events_is_kept_or_dropped_whole(store, file):
    for number in range(3 * KEEP):
        await store.claim_files(BOARD, [f"{number}.{part}" for part in range(7)], "p")
    count, first, last = rows(file)
    assert count == 7 * (last - first + 1)
