"""session: renewed in the background while its block runs; its owner is notified of its loss."""

import asyncio
import threading
from contextlib import closing
from datetime import timedelta

import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    Contract,
    InvalidArgument,
    PhaseIn,
    SessionExpired,
)
from tests.support.servers import server_process, server_thread

PATIENCE = 30
"""Seconds after which a test gives up waiting."""


@pytest.fixture
def client(server, board):
    with BoardClient(server, board) as client:
        yield client


@pytest.fixture
async def tasks_client(server, board):
    async with AsyncBoardClient(server, board) as client:
        yield client


def ends_of_others(client, count):
    """Open sessions of one second's ttl, one after the other, and wait until each expires."""
    with closing(client.watch("session")) as events:
        for _ in range(count):
            unrenewed = client.open_session("other", ttl=1).session_id
            ended = next(event for event in events if event.change == "session_ended")
            assert (ended.record.session_id, ended.cause) == (unrenewed, "session_expired")


def test_phases_and_claims_of_a_session_are_bound_to_it(client):
    with client.session("w1", ttl=5) as session:
        assert session.session_id
        bound = [
            session.set_phase_state("p", "running", worker="w1"),
            session.claim_file("a.go", "p"),
            *session.claim_files(["b.go", "c.go"], "p"),
        ]
        assert {record.session_id for record in bound} == {session.session_id}
        (listed,) = client.list_sessions()
        assert (listed.worker, listed.ttl) == ("w1", timedelta(seconds=5))
        assert client.claim_file("d.go", "q").session_id == ""


@pytest.mark.parametrize(("on_expiry", "state"), [("fail", "failed"), ("requeue", "queued")])
def test_the_end_of_the_block_closes_the_session(client, on_expiry, state):
    with client.session("w1", on_expiry=on_expiry) as session:
        session.set_phase_state("p", "running", worker="w1")
        session.claim_file("a.go", "p")
    assert client.list_sessions() == []
    assert client.file_owner("a.go") == ""
    assert client.get_phase("p").state == state


async def test_the_end_of_a_tasks_block_closes_the_session(tasks_client):
    async with tasks_client.session("w1", on_expiry="requeue") as session:
        await session.set_phase_state("p", "running")
        assert len(await tasks_client.list_sessions()) == 1
    assert await tasks_client.list_sessions() == []
    assert await tasks_client.get_phase_state("p") == "queued"


def test_a_session_that_was_not_entered_cannot_be_left(client):
    with pytest.raises(RuntimeError, match="was not entered"):
        client.session("w1").__exit__(None, None, None)


async def test_a_tasks_session_that_was_not_entered_cannot_be_left(tasks_client):
    with pytest.raises(RuntimeError, match="was not entered"):
        await tasks_client.session("w1").__aexit__(None, None, None)


def test_an_exception_in_the_block_closes_the_session_too(client):
    def work():
        with client.session("w1") as session:
            session.set_phase_state("p", "running")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert client.list_sessions() == []
    assert client.get_phase_state("p") == "failed"


async def test_an_exception_in_a_tasks_block_closes_the_session_too(tasks_client):
    async def work():
        async with tasks_client.session("w1") as session:
            await session.set_phase_state("p", "running")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert await tasks_client.list_sessions() == []
    assert await tasks_client.get_phase_state("p") == "failed"


async def test_a_task_that_is_cancelled_closes_its_session(tasks_client):
    working = asyncio.Event()

    async def work():
        async with tasks_client.session("w1") as session:
            await session.set_phase_state("p", "running")
            working.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    async with asyncio.timeout(PATIENCE):
        await working.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await tasks_client.list_sessions() == []
    assert await tasks_client.get_phase_state("p") == "failed"


def test_a_phase_completed_in_the_block_stays_completed(client):
    with client.session("w1") as session:
        session.set_phase_state("p", "running")
        session.claim_file("a.go", "p")
        done = session.complete_phase("p", contracts=[Contract("p", "type", "T")])
        assert (done.published, done.released) == (1, 1)
    assert client.get_phase("p") == done.phase
    assert client.get_phase_state("p") == "done"


def test_a_session_outlives_its_ttl_while_its_block_runs(client):
    with client.session("w1", ttl=1) as session:
        session.set_phase_state("p", "running")
        ends_of_others(client, 2)
        assert session.claim_file("a.go", "p").session_id == session.session_id
        assert not session.lost.is_set()
        assert client.get_phase_state("p") == "running"


async def test_a_tasks_session_outlives_its_ttl_while_its_block_runs(tasks_client, client):
    async with tasks_client.session("w1", ttl=1) as session:
        await session.set_phase_state("p", "running")
        await asyncio.to_thread(ends_of_others, client, 2)
        assert (await session.claim_file("a.go", "p")).session_id == session.session_id
        assert not session.lost.is_set()


def test_a_session_that_is_lost_notifies_its_owner(client):
    notified = threading.Event()
    with client.session("w1", ttl=1, on_lost=notified.set) as session:
        session.set_phase_state("p", "running")
        client.close_session(session.session_id)  # as the server does when it expires
        assert notified.wait(PATIENCE)
        assert session.lost.is_set()
        with pytest.raises(SessionExpired) as caught:
            session.complete_phase("p")
        assert caught.value.session_id == session.session_id
    assert client.get_phase_state("p") == "failed"


async def test_a_tasks_session_that_is_lost_notifies_its_owner(tasks_client):
    notified = asyncio.Event()
    async with tasks_client.session("w1", ttl=1, on_lost=notified.set) as session:
        await tasks_client.close_session(session.session_id)
        async with asyncio.timeout(PATIENCE):
            await notified.wait()
            await session.lost.wait()
        with pytest.raises(SessionExpired):
            await session.claim_file("a.go", "p")


def test_a_session_is_not_lost_when_it_is_closed(client):
    notified = threading.Event()
    with client.session("w1", ttl=1, on_lost=notified.set) as session:
        pass
    assert not notified.is_set()
    assert not session.lost.is_set()


def test_a_session_has_a_clients_other_methods(client):
    with client.session("w1") as session:
        session.set_phase_state("p", "done")
        assert session.with_options(timeout=PATIENCE).wait_for(PhaseIn("p", "done")).revision == 2
        with closing(session.watch(after_revision=0)) as events:
            assert next(events).change == "session_opened"


def test_two_sessions_of_one_client_are_two(client):
    with client.session("w1") as one, client.session("w2") as two:
        one.set_phase_state("p", "running")
        two.set_phase_state("q", "running")
        assert one.session_id != two.session_id
        assert [s.worker for s in client.list_sessions()] in (["w1", "w2"], ["w2", "w1"])
    assert client.list_sessions() == []


@pytest.mark.parametrize("ttl", [0, 0.5, -1, timedelta(hours=25)], ids=str)
def test_a_ttl_under_a_second_or_over_a_day_is_refused(client, ttl):
    with pytest.raises(InvalidArgument) as caught, client.session("w1", ttl=ttl):
        pytest.fail("the block must not be entered")
    assert caught.value.field == "ttl"
    assert client.list_sessions() == []


def test_an_unknown_on_expiry_is_refused(client):
    with (
        pytest.raises(InvalidArgument, match="on_expiry"),
        client.session("w1", on_expiry="explode"),
    ):
        pytest.fail("the block must not be entered")


def test_a_session_survives_a_restart_of_its_server(tmp_path):
    listen = f"unix:{tmp_path}/board.sock"
    with BoardClient(listen) as client:
        with server_process(tmp_path / "boards", listen=listen) as server:
            block = client.session("w1", ttl=4)
            session = block.__enter__()
            session.set_phase_state("p", "running")
            server.kill()
        with server_thread(tmp_path / "boards", listen=listen):
            patient = client.with_options(timeout=PATIENCE)
            (restarted,) = patient.list_sessions()
            ends_of_others(patient, 2)
            (renewed,) = patient.list_sessions()
            assert renewed.expires_at > restarted.expires_at
            assert not session.lost.is_set()
            assert session.complete_phase("p").phase.state == "done"
            block.__exit__(None, None, None)
            assert client.list_sessions() == []


def test_a_block_ends_without_an_error_if_its_server_is_gone(tmp_path):
    listen = f"unix:{tmp_path}/board.sock"
    with BoardClient(listen, timeout=1) as client:
        with server_thread(tmp_path / "boards", listen=listen):
            block = client.session("w1", ttl=3)
            session = block.__enter__()
        block.__exit__(None, None, None)
        assert not session.lost.is_set()
        with server_thread(tmp_path / "boards", listen=listen):
            (left,) = client.with_options(timeout=PATIENCE).list_sessions()
            assert left.session_id == session.session_id


def test_a_session_can_be_entered_once(client):
    session = client.session("w1")
    with session:
        for again in (session, session.with_options(timeout=5)):
            with pytest.raises(RuntimeError, match=r"session\(\) makes another"):
                again.__enter__()
        assert len(client.list_sessions()) == 1
    with pytest.raises(RuntimeError, match="once"), session:
        pytest.fail("the block must not be entered")
    assert client.list_sessions() == []


async def test_a_tasks_session_can_be_entered_once(tasks_client):
    session = tasks_client.session("w1")
    async with session:
        with pytest.raises(RuntimeError, match=r"session\(\) makes another"):
            await session.with_options(timeout=5).__aenter__()
    with pytest.raises(RuntimeError, match="once"):
        async with session:
            pytest.fail("the block must not be entered")


async def test_the_end_of_a_tasks_block_never_swallows_a_cancellation(tasks_client):
    async def work(entered):
        async with tasks_client.session("w1"):
            entered.set()
        await asyncio.Event().wait()  # forever, if a cancellation was swallowed

    for steps in range(40):  # cancel at each turn of the loop that the block's end takes
        entered = asyncio.Event()
        task = asyncio.create_task(work(entered))
        await entered.wait()
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({task})
        assert task.cancelled()
    assert await tasks_client.list_sessions() == []


def test_a_session_leaves_no_thread_behind(client):
    client.open_board()
    before = threading.active_count()
    for _ in range(5):
        with client.session("w1"):
            assert threading.active_count() == before + 1
    assert threading.active_count() == before
