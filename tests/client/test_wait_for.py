"""wait_for: returns when its conditions hold, also across restarts of the server."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    BoardNotFound,
    BoardReplaced,
    Contract,
    ContractPublished,
    DeadlineExceeded,
    FileFree,
    InvalidArgument,
    PhaseIn,
)
from tests.faults.network import Proxy
from tests.support.servers import server_process, server_thread

PATIENCE = 30
"""Seconds after which a test gives up waiting."""


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def plain(server, board):
    """A client that writes what others wait for."""
    with BoardClient(server, board) as client:
        yield client


@pytest.fixture
def listen(tmp_path):
    return f"unix:{tmp_path}/board.sock"


def test_conditions_that_hold_already_are_answered_at_once(client):
    done = client.complete_phase("p", contracts=[Contract("p", "type", "T", package="x")])
    contracts = client.all_contracts()
    met = client.wait_for(
        PhaseIn("p", "failed", "done"),
        ContractPublished("T"),
        ContractPublished(kind="type", producer="p", package="x"),
        FileFree("a.go"),
    )
    assert (met.revision, met.phases, met.contracts) == (1, [done.phase], contracts * 2)


def test_a_waiter_is_answered_when_all_its_conditions_hold(client, plain, pool):
    plain.claim_file("a.go", "p")
    conditions = PhaseIn("p", "done"), ContractPublished("T"), FileFree("a.go")
    waiting = pool.submit(client.with_options(timeout=PATIENCE).wait_for, *conditions)
    done = plain.complete_phase("p", contracts=[Contract("p", "type", "T")])
    met = waiting.result()
    assert (met.revision, met.phases) == (2, [done.phase])
    assert met.contracts == plain.all_contracts()


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        (PhaseIn("p"), "conditions[0].phase.states"),
        (PhaseIn("", "done"), "conditions[0].phase.phase_id"),
        (ContractPublished(), "conditions[0].contract"),
        (FileFree(""), "conditions[0].file_free.filepath"),
        (PhaseIn("p", "dreaming"), "states"),
        (ContractPublished(kind="rumour"), "kind"),
    ],
    ids=str,
)
def test_a_condition_that_is_not_valid_is_refused(client, condition, field):
    with pytest.raises(InvalidArgument) as caught:
        client.wait_for(condition)
    assert caught.value.field.endswith(field)


def test_waiting_for_nothing_is_refused(client):
    with pytest.raises(InvalidArgument) as caught:
        client.wait_for()
    assert caught.value.field == "conditions"


def test_a_wait_ends_with_the_clients_timeout(client):
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.with_options(timeout=0.3).wait_for(PhaseIn("p", "done"))
    assert 0.25 < time.monotonic() - began < 10


def test_a_wait_that_runs_out_of_time_says_which_conditions_are_not_met_and_why(client):
    client.set_phase_state("a", "running")
    client.set_phase_state("met", "done")
    client.claim_file("a.go", "p")
    conditions = [
        PhaseIn("a", "done", "failed"),
        PhaseIn("met", "done"),
        PhaseIn("absent", "done"),
        FileFree("a.go"),
        FileFree("free.go"),
        ContractPublished("T", kind="type", producer="p"),
    ]
    with pytest.raises(DeadlineExceeded) as caught:
        client.with_options(timeout=0.3).wait_for(*conditions)
    assert str(caught.value) == (
        'wait_for: deadline of 0.3 s passed; not met: phase "a" is RUNNING, wanted DONE or FAILED; '
        'phase "absent" does not exist, wanted DONE; file "a.go" is claimed by "p", wanted free; '
        'no contract with name "T", kind "type", producer "p" is published'
    )
    assert [(each.condition, each.actual) for each in caught.value.not_met] == [
        (conditions[0], "running"),
        (conditions[2], ""),
        (conditions[3], "p"),
        (conditions[5], ""),
    ]


def test_conditions_that_hold_only_after_the_deadline_are_said_to_hold_now():
    late = DeadlineExceeded.of_wait(5, [])
    why = "all conditions hold now, but did not hold together before"
    assert str(late) == f"wait_for: deadline of 5 s passed; {why}"
    assert late.not_met == ()


def test_a_wait_whose_server_stops_answering_ends_without_the_conditions(connect, server, board):
    with Proxy(server) as proxy:
        far = connect(proxy.address, board, timeout=0.5)
        far.claim_file("a.go", "p")
        proxy.hold_requests()
        with pytest.raises(DeadlineExceeded, match=r"gave no answer within 0\.5 s") as caught:
            far.wait_for(FileFree("a.go"))
        assert caught.value.not_met is None


def test_a_board_that_does_not_exist_cannot_be_waited_on(client):
    with pytest.raises(BoardNotFound):
        client.with_options(board="nowhere").wait_for(FileFree("a.go"))


def test_a_board_that_is_deleted_ends_the_wait(connect, tmp_path, listen, pool):
    """The waiter's retry and the server race; either error is correct."""
    with server_thread(tmp_path / "boards", listen=listen):
        client = connect(listen, timeout=PATIENCE)
        client.open_board()
        waiting = pool.submit(client.wait_for, PhaseIn("p", "done"))
        for file in (tmp_path / "boards").glob("*.board.db*"):
            file.unlink()
        with pytest.raises((BoardReplaced, BoardNotFound)):
            waiting.result()


def test_a_wait_survives_a_restart(connect, tmp_path, listen, pool):
    with BoardClient(listen) as plain:
        with server_process(tmp_path / "boards", listen=listen) as server:
            client = connect(listen, timeout=4 * PATIENCE)
            plain.claim_file("a.go", "p")
            waiting = pool.submit(client.wait_for, PhaseIn("p", "done"), FileFree("a.go"))
            plain.claim_file("b.go", "p")
            server.kill()
        with server_thread(tmp_path / "boards", listen=listen):
            plain.complete_phase("p")
            assert waiting.result().revision == 3


def test_a_wait_without_a_server_ends_at_its_deadline(connect, listen):
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        connect(listen, timeout=0.7).wait_for(FileFree("a.go"))
    assert caught.value.not_met is None
    assert 0.65 < time.monotonic() - began < 10


def test_a_wait_whose_server_goes_and_stays_away_ends_at_its_deadline(
    connect, tmp_path, listen, pool
):
    with server_process(tmp_path / "boards", listen=listen) as server:
        client = connect(listen, timeout=1.5)
        client.open_board()
        waiting = pool.submit(client.wait_for, PhaseIn("p", "done"))
        server.kill()
        with pytest.raises(DeadlineExceeded) as caught:
            waiting.result()
    assert caught.value.not_met is None


async def test_many_tasks_wait_over_one_connection(server, board):
    async with AsyncBoardClient(server, board, timeout=PATIENCE) as client:
        waiting = [
            asyncio.create_task(client.wait_for(PhaseIn(f"p{number}", "done")))
            for number in range(200)
        ]
        for number in range(200):
            await client.set_phase_state(f"p{number}", "done")
        met = await asyncio.gather(*waiting)
        assert [one.revision for one in met] == list(range(1, 201))


async def test_a_task_that_is_cancelled_waits_no_longer(server, board):
    async with AsyncBoardClient(server, board) as client:
        waiting = asyncio.create_task(client.wait_for(PhaseIn("p", "done")))
        await client.claim_file("a.go", "p")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await client.set_phase_state("p", "done")
