"""Ten thousand waiters cost nothing while idle, and a commit wakes only those it concerns."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from board_client import AsyncBoardClient, Contract, ContractPublished, PhaseIn
from tests.support.servers import server_process

WAITERS = 10_000
SHARED = 500
"""Waiters for the same contract. Each of the others waits for a phase of its own."""

WINDOW = 1.0
"""Seconds over which the server's processor time is measured."""

IDLE = 0.03
"""Seconds of processor time in a window below which the server counts as idle. Polling for ten
thousand waiters once would take more."""

PATIENCE = 100


@pytest.fixture(autouse=True)
def many_on_one_connection(monkeypatch):
    """Raise the server's limit of calls on one connection."""
    monkeypatch.setenv("BOARD_SERVE_MAX_CALLS_PER_CONNECTION", str(2 * WAITERS))


def processor_time(pid):
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def work_in_a_window(pid):
    before = processor_time(pid)
    await asyncio.sleep(WINDOW)  # it measures a span of time: there is no event to wait for
    return processor_time(pid) - before


@pytest.mark.alone
async def test_ten_thousand_waiters_cost_nothing_and_a_commit_wakes_those_it_concerns(tmp_path):
    with server_process(tmp_path) as server:
        async with (
            AsyncBoardClient(server.address, timeout=PATIENCE) as client,
            asyncio.timeout(PATIENCE),
        ):
            shared = [
                asyncio.create_task(client.wait_for(ContractPublished("T"))) for _ in range(SHARED)
            ]
            own = [
                asyncio.create_task(client.wait_for(PhaseIn(f"p{number}", "done")))
                for number in range(WAITERS - SHARED)
            ]
            # Once the server is idle, all calls have arrived. A server that polls never is.
            began = time.monotonic()
            while await work_in_a_window(server.process.pid) > IDLE:
                assert time.monotonic() - began < PATIENCE / 2, "the server is never idle"
            assert await work_in_a_window(server.process.pid) <= IDLE

            await client.set_phase_state("p7", "running")
            done = await client.set_phase_state("p7", "done")
            assert (await own[7]).phases == [done]
            contract = await client.publish_contract(Contract("p", "type", "T"))
            met = await asyncio.gather(*shared)
            assert all(one.contracts == [contract] for one in met)
            assert [number for number, task in enumerate(own) if task.done()] == [7]
            for task in own:
                task.cancel()
            await asyncio.gather(*own, return_exceptions=True)
