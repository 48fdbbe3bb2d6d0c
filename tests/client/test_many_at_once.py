"""Thirty-two threads, or tasks, share one client for some seconds, and nothing is lost.

Each sets its phase and reads it back, claims and releases a file that all claim, and
increments a shared counter. The counter is the worker's name of one phase; the phase's
state is its lock.
"""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from board_client import AsyncBoardClient, BoardClient, Contract, FileAlreadyClaimed, StateMismatch

WORKERS = 32
SECONDS = 3


def test_threads_share_a_client_and_lose_no_update(server, board):
    end = time.monotonic() + SECONDS
    start = threading.Barrier(WORKERS)

    with BoardClient(server, board) as client:
        client.set_phase_state("counter", "queued", worker="0")

        def count_up() -> int:
            try:
                client.set_phase_state("counter", "running", expected_state="queued")
            except StateMismatch:
                return 0
            value = int(client.get_phase("counter").worker) + 1
            client.set_phase_state("counter", "queued", worker=str(value))
            return 1

        def hold_the_file(phase: str) -> None:
            try:
                client.claim_file("wanted.go", phase)
            except FileAlreadyClaimed as error:
                assert error.owner != phase  # noqa: PT017  the error is awaited, not required
                return
            assert client.file_owner("wanted.go") == phase
            assert client.claims_for(phase) == ["wanted.go"]
            assert client.release_claims(phase) == 1

        def work(worker: int) -> tuple[int, int]:
            phase, rounds, counted = f"p{worker}", 0, 0
            start.wait()
            while time.monotonic() < end:
                client.set_phase_state(phase, "running", worker=str(rounds))
                assert client.get_phase(phase).worker == str(rounds)
                client.publish_contract(Contract(phase, "type", "T", signature=str(rounds)))
                (contract,) = client.contracts_for(phase)
                assert contract.signature == str(rounds)
                hold_the_file(phase)
                counted += count_up()
                rounds += 1
            return rounds, counted

        with ThreadPoolExecutor(WORKERS) as pool:
            rounds, counted = zip(*pool.map(work, range(WORKERS)), strict=True)

        assert min(rounds) > 1, "some thread hardly worked"
        assert sum(counted) > 1, "nobody counted"
        assert client.get_phase("counter").worker == str(sum(counted))
        assert client.list_claims() == []
        phases = {phase.phase_id: phase.worker for phase in client.list_phases("running")}
        assert phases == {f"p{n}": str(done - 1) for n, done in enumerate(rounds)}


async def test_tasks_share_a_client_and_lose_no_update(server, board):
    end = time.monotonic() + SECONDS

    async with AsyncBoardClient(server, board) as client:
        await client.set_phase_state("counter", "queued", worker="0")

        async def count_up() -> int:
            try:
                await client.set_phase_state("counter", "running", expected_state="queued")
            except StateMismatch:
                return 0
            value = int((await client.get_phase("counter")).worker) + 1
            await client.set_phase_state("counter", "queued", worker=str(value))
            return 1

        async def hold_the_file(phase: str) -> None:
            try:
                await client.claim_file("wanted.go", phase)
            except FileAlreadyClaimed as error:
                assert error.owner != phase  # noqa: PT017  the error is awaited, not required
                return
            assert await client.file_owner("wanted.go") == phase
            assert await client.claims_for(phase) == ["wanted.go"]
            assert await client.release_claims(phase) == 1

        async def work(worker: int) -> tuple[int, int]:
            phase, rounds, counted = f"p{worker}", 0, 0
            while time.monotonic() < end:
                await client.set_phase_state(phase, "running", worker=str(rounds))
                assert (await client.get_phase(phase)).worker == str(rounds)
                contract = Contract(phase, "type", "T", signature=str(rounds))
                await client.publish_contract(contract)
                (contract,) = await client.contracts_for(phase)
                assert contract.signature == str(rounds)
                await hold_the_file(phase)
                counted += await count_up()
                rounds += 1
            return rounds, counted

        done = await asyncio.gather(*map(work, range(WORKERS)))
        rounds, counted = zip(*done, strict=True)

        assert min(rounds) > 1, "some task hardly worked"
        assert sum(counted) > 1, "nobody counted"
        assert (await client.get_phase("counter")).worker == str(sum(counted))
        assert await client.list_claims() == []
        phases = {phase.phase_id: phase.worker for phase in await client.list_phases("running")}
        assert phases == {f"p{n}": str(done - 1) for n, done in enumerate(rounds)}
