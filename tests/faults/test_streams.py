"""Streams end in time, with a result or an error, while servers stop and restart."""

import asyncio
import contextlib
import threading

import pytest

from board_client import AsyncBoardClient, BoardClient, BoardError, Unavailable
from tests.faults.program import Program
from tests.faults.soak import scaled

READERS = 4
RESTARTS = scaled(2, 60)


def test_no_snapshot_hangs_past_its_deadline_while_the_server_comes_and_goes(tmp_path):
    over = threading.Event()

    def read(client):
        while not over.is_set():
            with contextlib.suppress(BoardError):
                client.get_snapshot()

    with (
        Program(tmp_path, "--board", "nebula") as server,
        BoardClient(server.address, timeout=3) as client,
    ):
        readers = [threading.Thread(target=read, args=(client,)) for _ in range(READERS)]
        server.start()
        for reader in readers:
            reader.start()
        for _ in range(RESTARTS):
            server.kill()
            server.start()
        over.set()
        for reader in readers:
            reader.join(30)
        assert not any(reader.is_alive() for reader in readers)


async def test_no_snapshot_of_the_async_client_hangs_past_its_deadline_either(tmp_path):
    async def read(client):
        while not over.is_set():
            with contextlib.suppress(BoardError):
                await client.get_snapshot()

    over = asyncio.Event()
    with Program(tmp_path, "--board", "nebula") as server:
        async with AsyncBoardClient(server.address, timeout=3) as client:
            server.start()
            readers = [asyncio.create_task(read(client)) for _ in range(READERS)]
            for _ in range(RESTARTS):
                server.kill()
                await asyncio.to_thread(server.start)
            over.set()
            await asyncio.wait_for(asyncio.gather(*readers), 30)


@pytest.mark.parametrize("ask", ["get_snapshot", "watch"])
def test_a_stream_without_a_server_fails_after_a_few_attempts(tmp_path, ask):
    with (
        BoardClient(f"unix:{tmp_path}/nobody", timeout=60) as client,
        pytest.raises(Unavailable),
    ):
        getattr(client, ask)()
