"""Watching, waiting and sessions, as a program without an event loop and one with it do."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    Contract,
    ContractPublished,
    FileFree,
    PhaseIn,
    SessionExpired,
    Snapshot,
)
from tests.servers import server_thread


@pytest.fixture
def client(server, board):
    with BoardClient(server, board) as client:
        yield client


@pytest.fixture
async def tasks_client(server, board):
    async with AsyncBoardClient(server, board) as client:
        yield client


def test_a_watch_tells_what_happens_after_it_began(client):
    client.claim_file("before.go", "p")
    with closing(client.watch()) as events:
        claim = client.claim_file("a.go", "p")
        phase = client.set_phase_state("p", "done")
        first, second = islice(events, 2)
    assert (first.change, first.record, first.revision) == ("claimed", claim, 2)
    assert (second.change, second.record, second.cause) == ("phase", phase, "call")


async def test_a_tasks_watch_tells_what_happens_after_it_began(tasks_client):
    await tasks_client.claim_file("before.go", "p")
    async with tasks_client.watch() as events:
        claim = await tasks_client.claim_file("a.go", "p")
        event = await anext(events)
    assert (event.change, event.record, event.revision) == ("claimed", claim, 2)


def test_a_watch_keeps_to_the_kinds_that_are_named(client):
    with closing(client.watch("contract")) as events:
        client.claim_file("a.go", "p")
        contract = client.publish_contract(Contract("p", "type", "T"))
        assert next(events).record == contract


def test_a_watch_goes_on_from_a_revision(client):
    for n in range(5):
        client.claim_file(f"{n}.go", "p")
    with closing(client.watch(after_revision=2)) as events:
        assert [event.record.filepath for event in islice(events, 3)] == ["2.go", "3.go", "4.go"]


def test_a_watch_can_start_from_a_snapshot(client):
    client.claim_file("before.go", "p")
    with closing(client.watch_from_snapshot()) as told:
        snapshot = next(told)
        assert isinstance(snapshot, Snapshot)
        assert [claim.filepath for claim in snapshot.claims] == ["before.go"]
        client.claim_file("after.go", "p")
        assert next(told).record.filepath == "after.go"


def test_a_watch_rides_over_a_restart_without_gap_or_repeat(tmp_path):
    listen = f"unix:{tmp_path}/board.sock"
    with BoardClient(listen) as client, BoardClient(listen) as other:
        with server_thread(tmp_path / "boards", listen=listen):
            events = client.watch()
            other.claim_file("0.go", "p")
            assert next(events).revision == 1
            other.claim_file("1.go", "p")
        with server_thread(tmp_path / "boards", listen=listen):
            other.claim_file("2.go", "p")
            assert [event.revision for event in islice(events, 2)] == [2, 3]
            events.close()


def test_a_thread_that_waits_is_answered_when_all_its_conditions_hold(client):
    client.claim_file("a.go", "p")
    conditions = PhaseIn("p", "done"), ContractPublished("T"), FileFree("a.go")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.within(30).wait_for, *conditions)
        done = client.complete_phase("p", contracts=[Contract("p", "type", "T")])
        met = waiting.result()
    assert met.phases == [done.phase]
    assert met.contracts == client.all_contracts()


async def test_a_task_that_waits_is_answered_when_its_condition_holds(tasks_client):
    await tasks_client.claim_file("a.go", "p")
    waiting = asyncio.create_task(tasks_client.within(30).wait_for(FileFree("a.go")))
    await asyncio.sleep(0)  # let it begin
    await tasks_client.release_claims("p")
    assert (await waiting).revision == 2


def test_a_session_binds_what_is_done_in_it_and_ends_with_its_block(client):
    with client.session("w1", ttl=5) as session:
        assert session.set_phase_state("p", "running").session_id == session.session_id
        assert session.claim_file("a.go", "p").session_id == session.session_id
        assert len(client.list_sessions()) == 1
    assert client.list_sessions() == []
    assert client.file_owner("a.go") == ""
    assert client.get_phase_state("p") == "failed"


async def test_a_tasks_session_binds_what_is_done_in_it_and_ends_with_its_block(tasks_client):
    async with tasks_client.session("w1", ttl=5, on_expiry="requeue") as session:
        await session.set_phase_state("p", "running")
        assert len(await tasks_client.list_sessions()) == 1
    assert await tasks_client.list_sessions() == []
    assert await tasks_client.get_phase_state("p") == "queued"


def test_a_session_outlives_its_ttl_while_its_block_runs(client):
    """Another session with the same ttl, which nobody renews, ends twice in the meantime."""
    with client.session("w1", ttl=1) as session, closing(client.watch("session")) as events:
        for _ in range(2):
            unrenewed = client.open_session("w2", ttl=1).session_id
            ended = next(event for event in events if event.change == "session_ended")
            assert (ended.record.session_id, ended.cause) == (unrenewed, "session_expired")
        assert session.claim_file("a.go", "p").session_id == session.session_id
        assert not session.lost.is_set()


def test_the_owner_of_a_session_is_told_that_it_is_lost(client):
    told = threading.Event()
    with client.session("w1", ttl=1, on_lost=told.set) as session:
        client.close_session(session.session_id)  # as the server does when its time is up
        assert told.wait(timeout=10)
        assert session.lost.is_set()
        with pytest.raises(SessionExpired):
            session.claim_file("a.go", "p")
