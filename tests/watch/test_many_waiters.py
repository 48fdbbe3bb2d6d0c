"""Ten thousand wait at once: at no cost while nothing happens, and each for its own."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from board_client import AsyncBoardClient, Contract, ContractPublished, PhaseIn
from tests.support.servers import server_process

WAITERS = 10_000
SHARED = 500
"""How many of them wait for the same contract; the others each for a phase of its own."""

WINDOW = 1.0
"""Seconds over which the server's work is counted."""

IDLE = 0.03
"""Seconds of processor time in that window, below which it does nothing: a
single poll of ten thousand would be more."""

PATIENCE = 100


@pytest.fixture(autouse=True)
def many_on_one_connection(monkeypatch):
    """Let the server take more than it would without being told."""
    monkeypatch.setenv("BOARD_SERVE_MAX_CALLS_PER_CONNECTION", str(2 * WAITERS))


def processor_time(pid):
    """Seconds that the process has been at work, by the kernel's count."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def work_in_a_window(pid):
    before = processor_time(pid)
    await asyncio.sleep(WINDOW)  # time has to go by, for nothing to happen in it
    return processor_time(pid) - before


@pytest.mark.alone
async def test_ten_thousand_wait_at_no_cost_and_a_commit_wakes_those_it_concerns(tmp_path):
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
            # They have all arrived when the server has nothing left to do; if it
            # asked for them again and again, it never would.
            began = time.monotonic()
            while await work_in_a_window(server.process.pid) > IDLE:
                assert time.monotonic() - began < PATIENCE / 2, "the server never rests"
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
