"""Workers that are killed or stopped, and workers on a loaded machine."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, closing, contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest

from board_client import AsyncBoardClient, BoardClient, FileFree, PhaseIn
from tests.support.servers import server_process

TTL = 1.0
"""The ttl of a worker's session, in seconds."""

WITHIN = TTL + 1.0
"""Seconds after which a dead worker's session must have expired."""

PATIENCE = 60
"""Seconds after which a test fails."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("boards")) as running:
        yield running.address


@pytest.fixture
def client(server):
    with BoardClient(server) as client:
        yield client


class Worker:
    """A worker process; see worker.py."""

    def __init__(self, process):
        self._process = process

    def says(self):
        return self._process.stdout.readline().strip()

    def signal(self, number):
        self._process.send_signal(number)

    def complete(self):
        self._process.stdin.write("complete\n")
        self._process.stdin.flush()


@contextmanager
def working(server, phase, on_expiry="fail"):
    """Run a worker until it has set the phase RUNNING."""
    script = Path(__file__).with_name("worker.py")
    command = [sys.executable, script, server, phase, str(TTL), on_expiry]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        try:
            worker = Worker(process)
            assert worker.says() == "working"
            yield worker
        finally:
            process.kill()


def until_a_session_expires(events):
    """Read events until a session expires; return the other events of that revision.

    A worker of another test may still be closing its session.
    """
    expired = (event for event in events if event.cause == "session_expired")
    return list(takewhile(lambda event: event.change != "session_ended", expired))


@pytest.mark.parametrize(("on_expiry", "state"), [("fail", "failed"), ("requeue", "queued")])
def test_the_work_of_a_killed_worker_is_released_and_a_watch_shows_the_cause(
    server, client, on_expiry, state
):
    phase = f"killed-{on_expiry}"
    with working(server, phase, on_expiry) as worker, closing(client.watch()) as events:
        assert client.get_phase(phase).worker == "worker"
        assert client.file_owner(f"{phase}.go") == phase
        worker.signal(signal.SIGKILL)
        met = client.with_options(timeout=WITHIN).wait_for(
            PhaseIn(phase, state), FileFree(f"{phase}.go")
        )
        assert met.phases[0].worker == ("worker" if state == "failed" else "")
        received = until_a_session_expires(events)
        assert {event.change for event in received} == {"phase", "released"}
        assert {event.revision for event in received} == {met.revision}


def test_a_worker_that_was_stopped_for_longer_than_its_ttl_cannot_complete(server, client):
    with working(server, "stopped") as worker:
        worker.signal(signal.SIGSTOP)
        client.with_options(timeout=WITHIN).wait_for(
            PhaseIn("stopped", "failed"), FileFree("stopped.go")
        )
        # Another worker claims the file and sets the phase.
        client.claim_file("stopped.go", "another")
        client.set_phase_state("stopped", "running", worker="another")
        before = client.get_snapshot()
        worker.complete()
        worker.signal(signal.SIGCONT)
        assert worker.says() == "refused"
        assert client.get_snapshot() == before


def test_a_worker_that_renews_its_session_keeps_its_work(server, client):
    """Meanwhile a session with the same ttl expires, because it is not renewed."""
    with working(server, "living") as worker, closing(client.watch("session")) as events:
        for _ in range(3):
            client.open_session("another", ttl=TTL)
            assert until_a_session_expires(events) == []
        assert client.get_phase_state("living") == "running"
        worker.complete()
        assert worker.says() == "done"
    assert client.get_phase_state("living") == "done"
    assert client.file_owner("living.go") == ""


@pytest.fixture
def load():
    """Run a busy process for each core."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores())]
    yield
    for process in busy:
        process.kill()
        process.wait()


def cores():
    return len(os.sched_getaffinity(0))


@pytest.mark.alone  # it makes its own load
@pytest.mark.usefixtures("load")
async def test_two_hundred_sessions_on_a_loaded_machine_stay_alive(server):
    """Meanwhile a session with the same ttl expires, because it is not renewed."""
    ttl = 3.0
    lost = []
    async with (
        AsyncBoardClient(server, "sessions") as client,
        AsyncExitStack() as blocks,
        asyncio.timeout(PATIENCE),
    ):
        await client.open_board()
        events = await blocks.enter_async_context(client.watch("session"))
        for number in range(200):
            lose = partial(lost.append, number)
            await blocks.enter_async_context(client.session(f"w{number}", ttl, on_lost=lose))
        unrenewed = await client.open_session("unrenewed", ttl)
        async for event in events:
            if event.change == "session_ended":
                assert event.record.session_id == unrenewed.session_id
                break
        sessions = await client.list_sessions()
        assert len([s for s in sessions if s.worker.startswith("w")]) == 200
    assert lost == []
