"""watch: the board's events as they happen, also across restarts of the server."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice

import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    BoardError,
    BoardNotFound,
    BoardReplaced,
    Contract,
    InvalidArgument,
    RevisionCompacted,
    Snapshot,
    Unavailable,
)
from board_server.sqlite import SqliteStore
from board_server.watch import subscription
from tests.support.loops import runner
from tests.support.servers import server_process, server_thread

PATIENCE = 30
"""Seconds after which a test gives up waiting."""


class Watched:
    """A watch of a BoardClient."""

    def __init__(self, target, board, begin):
        self._client = BoardClient(target, board)
        self._begin = begin

    def stand(self):
        self._events = self._begin(self._client)

    def take(self, count):
        return list(islice(self._events, count))

    def revisions(self, count):
        return [event.revision for event in self.take(count)]

    def close(self):
        self._client.close()


class AsyncWatched(Watched):
    """A watch of an AsyncBoardClient, which is read without `await` too."""

    def __init__(self, target, board, begin):
        self._client = self._run(self._connect, target, board)
        self._begin = begin

    def stand(self):
        self._events = self._run(self._begin(self._client).__aenter__)

    def take(self, count):
        async def take():
            return [await anext(self._events) for _ in range(count)]

        return self._run(take)

    def close(self):
        self._run(self._client.close)

    def _run(self, make, *args):
        async def run():
            async with asyncio.timeout(PATIENCE):
                return await make(*args)

        return runner().run(run())

    @staticmethod
    async def _connect(target, board):
        return AsyncBoardClient(target, board)


@pytest.fixture(params=[BoardClient, AsyncBoardClient])
def watch(request):
    """Start a watch with a client of either kind."""
    begun = []

    def watch(target, *kinds, board="", snapshots=False, **asked):
        def begin(client):
            method = client.watch_from_snapshot if snapshots else client.watch
            return method(*kinds, **asked)

        make = Watched if request.param is BoardClient else AsyncWatched
        begun.append(make(target, board, begin))
        begun[-1].stand()
        return begun[-1]

    yield watch
    for watched in begun:
        watched.close()


@pytest.fixture
def plain(server, board):
    """A client that writes what others watch."""
    with BoardClient(server, board) as client:
        yield client


@pytest.fixture
def listen(tmp_path):
    return f"unix:{tmp_path}/board.sock"


def claim(client, *paths):
    for path in paths:
        client.claim_file(path, "p")


def test_a_watch_has_every_event_after_its_start(watch, server, board, plain):
    claim(plain, "before.go")
    events = watch(server, board=board)
    held = plain.claim_file("a.go", "p")
    phase = plain.set_phase_state("p", "done")
    first, second = events.take(2)
    assert (first.change, first.record, first.revision) == ("claimed", held, 2)
    assert (second.change, second.record, second.cause) == ("phase", phase, "call")
    assert second.time == phase.updated_at


def test_every_kind_of_event_has_its_record(watch, server, board, plain):
    events = watch(server, board=board)
    session = plain.open_session("w", 60)
    contract = plain.publish_contract(Contract("p", "type", "T"))
    held = plain.claim_file("a.go", "p")
    plain.release_claims("p")
    plain.close_session(session.session_id)
    seen = events.take(5)
    assert [event.change for event in seen] == [
        *("session_opened", "contract", "claimed", "released", "session_ended")
    ]
    assert [event.record for event in seen[1:4]] == [contract, held, held]
    assert {seen[0].record.session_id, seen[4].record.session_id} == {session.session_id}
    assert [event.cause for event in seen] == ["call"] * 4 + ["session_closed"]


def test_a_watch_filters_by_kind(watch, server, board, plain):
    events = watch(server, "contract", "phase", board=board)
    claim(plain, "a.go")
    contract = plain.publish_contract(Contract("p", "type", "T"))
    claim(plain, "b.go")
    phase = plain.set_phase_state("p", "done")
    assert [event.record for event in events.take(2)] == [contract, phase]


def test_a_watch_can_resume_after_a_revision(watch, server, board, plain):
    claim(plain, *(f"{n}.go" for n in range(5)))
    events = watch(server, board=board, after_revision=2)
    assert [event.record.filepath for event in events.take(3)] == ["2.go", "3.go", "4.go"]


def test_a_watch_can_start_from_a_snapshot(watch, server, board, plain):
    claim(plain, "before.go")
    seen = watch(server, board=board, snapshots=True)
    claim(plain, "after.go")
    snapshot, event = seen.take(2)
    assert isinstance(snapshot, Snapshot)
    assert [held.filepath for held in snapshot.claims] == ["before.go"]
    assert event.record.filepath == "after.go"


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"after_revision": -1}, "after_revision"), ({"after_revision": 99}, "after_revision")],
    ids=str,
)
def test_a_revision_that_is_not_valid_is_refused_when_the_watch_starts(
    watch, server, board, asked, field
):
    with pytest.raises(InvalidArgument) as caught:
        watch(server, board=board, **asked)
    assert caught.value.field == field


def test_a_kind_that_the_board_does_not_know_is_refused(watch, server, board):
    with pytest.raises(InvalidArgument, match="kinds"):
        watch(server, "weather", board=board)


def test_a_board_that_does_not_exist_cannot_be_watched(watch, server):
    with pytest.raises(BoardNotFound):
        watch(server, board="nowhere")


def test_a_watch_that_never_started_gives_up(watch, listen):
    with pytest.raises(Unavailable):
        watch(listen)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_watch_survives_restarts_without_gap_or_repeat(watch, tmp_path, listen, end):
    with BoardClient(listen) as other:
        events, seen = None, []
        for restart in range(2):
            with server_process(tmp_path / "boards", listen=listen) as server:
                claim(other, f"{restart} before.go")
                if events is None:
                    events = watch(listen, after_revision=0)
                claim(other, f"{restart} after.go")
                seen += events.revisions(1)  # it has resumed; one more is on its way
                getattr(server, end)()
        with server_process(tmp_path / "boards", listen=listen):
            seen += events.revisions(2)
            claim(other, "last.go")
            seen += events.revisions(1)
    assert seen == list(range(1, 6))


def test_a_watch_from_now_on_misses_nothing_after_a_restart(watch, tmp_path, listen):
    """Even if no event arrived before the server stopped."""
    with BoardClient(listen) as other:
        with server_thread(tmp_path / "boards", listen=listen):
            claim(other, "before.go")
            events = watch(listen)
        with server_thread(tmp_path / "boards", listen=listen):
            claim(other, "after.go")
            assert events.revisions(1) == [2]


def test_a_watcher_that_is_too_slow_resumes_where_it_was(watch, tmp_path, listen, monkeypatch):
    monkeypatch.setattr(subscription, "MAX_BEHIND", 2**16)
    with server_thread(tmp_path, listen=listen), BoardClient(listen) as other:
        events = watch(listen)
        for number in range(100):
            large = Contract("p", "type", f"{number}", signature="x" * 2**18)
            other.publish_contract(large)
        assert events.revisions(100) == list(range(1, 101))


def serving(directory, listen, keep_revisions):
    return server_thread(
        directory, listen=listen, store=partial(SqliteStore, keep_revisions=keep_revisions)
    )


def test_compacted_events_end_a_watch(watch, tmp_path, listen):
    with serving(tmp_path, listen, 5), BoardClient(listen) as other:
        claim(other, *(f"{n}.go" for n in range(30)))
        events = watch(listen, after_revision=3)
        with pytest.raises(RevisionCompacted) as caught:
            events.take(1)
        oldest = caught.value.oldest_revision
        assert watch(listen, after_revision=oldest).revisions(1) == [oldest + 1]


def test_a_watch_from_a_snapshot_takes_another_where_events_are_compacted(watch, tmp_path, listen):
    with BoardClient(listen) as other:
        with serving(tmp_path, listen, 5):
            claim(other, "first.go")
            seen = watch(listen, snapshots=True)
            (snapshot,) = seen.take(1)
            assert snapshot.revision == 1
        elsewhere = f"{listen}-2"
        with serving(tmp_path, elsewhere, 5), BoardClient(elsewhere) as meanwhile:
            claim(meanwhile, *(f"{n}.go" for n in range(30)))
        with serving(tmp_path, listen, 5):
            (snapshot,) = seen.take(1)
            assert (snapshot.revision, len(snapshot.claims)) == (31, 31)
            claim(other, "last.go")
            assert seen.revisions(1) == [32]


def remove(directory):
    for file in directory.glob("*.board.db*"):
        file.unlink()


@pytest.mark.parametrize("meanwhile", ["serving", "restarting"])
def test_a_board_that_was_replaced_ends_a_watch(watch, tmp_path, listen, meanwhile):
    directory = tmp_path / "boards"
    with BoardClient(listen) as other:
        with server_thread(directory, listen=listen):
            claim(other, "a.go")
            events = watch(listen)
            if meanwhile == "serving":
                remove(directory)
                other.open_board()
                with pytest.raises(BoardReplaced):
                    events.take(1)
                return
        remove(directory)
        with server_thread(directory, listen=listen):
            new = other.open_board().board_id
            claim(other, "b.go")
            with pytest.raises(BoardReplaced) as caught:
                events.take(1)
            assert caught.value.board_id == new


def test_a_watch_from_a_snapshot_continues_with_the_board_that_replaced_its_own(
    watch, tmp_path, listen
):
    with BoardClient(listen) as other:
        with server_thread(tmp_path / "boards", listen=listen):
            claim(other, "a.go")
            seen = watch(listen, snapshots=True)
            (old,) = seen.take(1)
        remove(tmp_path / "boards")
        with server_thread(tmp_path / "boards", listen=listen):
            (new,) = seen.take(1)
            assert (new.revision, new.claims) == (0, [])
            assert new.board_id != old.board_id
            claim(other, "b.go")
            assert seen.revisions(1) == [1]


def test_leaving_the_loop_ends_the_watch(server, board, plain):
    with BoardClient(server, board) as client:
        for event in client.watch(after_revision=plain.claim_file("a.go", "p") and 0):
            assert event.revision == 1
            break
        claim(client, "b.go")


def test_a_watch_that_is_not_read_ends_with_its_client(server, board):
    threads = threading.active_count()
    with BoardClient(server, board) as client:
        watches = [client.watch() for _ in range(3)]
        claim(client, "a.go")
        for events in watches:
            events.close()
    assert threading.active_count() <= threads + 1


def test_closing_the_client_ends_a_watch_that_another_thread_reads(server, board):
    client = BoardClient(server, board)
    events = client.watch()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(next, events)
        claim(client, "a.go")
        assert reading.result(PATIENCE).revision == 1
        reading = pool.submit(next, events)
        client.close()
        with pytest.raises(BoardError) as caught:
            reading.result(PATIENCE)
    assert caught.value.code.name == "CANCELLED"


async def test_a_task_that_is_cancelled_leaves_its_watch(server, board):
    async with AsyncBoardClient(server, board) as client:
        reading = asyncio.Event()

        async def read():
            async with client.watch() as events:
                reading.set()
                async for _ in events:
                    pass

        task = asyncio.create_task(read())
        async with asyncio.timeout(PATIENCE):
            await reading.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await client.claim_file("a.go", "p")


async def test_many_tasks_watch_over_one_connection(server, board):
    async with AsyncBoardClient(server, board) as client, asyncio.timeout(PATIENCE):
        watches = [await client.watch().__aenter__() for _ in range(50)]
        for number in range(5):
            await client.claim_file(f"{number}.go", "p")
        for events in watches:
            assert [(await anext(events)).revision for _ in range(5)] == [1, 2, 3, 4, 5]
            await events.aclose()


def test_a_sync_watch_is_a_generator_that_can_be_closed_twice(server, board):
    with BoardClient(server, board) as client, closing(client.watch()) as events:
        events.close()
        assert list(events) == []


async def test_a_step_that_is_cancelled_loses_nothing_of_its_watch(server, board):
    async with AsyncBoardClient(server, board) as client, client.watch() as events:
        revisions = []

        async def read(seconds):
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        revisions.append((await anext(events)).revision)
            except TimeoutError:
                return

        await read(0)
        for number in range(20):
            await client.claim_file(f"{number}.go", "p")
            await read(0.001 * (number % 5))
        while len(revisions) < 20:
            async with asyncio.timeout(PATIENCE):
                revisions.append((await anext(events)).revision)
        assert revisions == list(range(1, 21))


async def test_a_watch_that_was_closed_ends_at_its_next_step(server, board):
    async with AsyncBoardClient(server, board) as client:
        events = client.watch()
        async with events:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.01)
        assert [event async for event in events] == []
        await events.aclose()


async def test_a_watch_whose_start_is_cancelled_leaves_no_task_behind(server, board):
    async with AsyncBoardClient(server, board) as client:
        await client.list_phases()
        before = asyncio.all_tasks()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0), client.watch():
                    pytest.fail("the block must not be entered")
        assert asyncio.all_tasks() == before


async def test_a_watch_that_is_dropped_while_it_runs_leaves_no_task_behind(server, board):
    async with AsyncBoardClient(server, board) as client:
        await client.list_phases()
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(client.watch()), 0.01)
        async with asyncio.timeout(PATIENCE):
            while left := asyncio.all_tasks() - before:
                await asyncio.wait(left)
