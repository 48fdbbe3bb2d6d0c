"""A client outlives its server: its calls are retried until one is there again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from board_client import AsyncBoardClient, BoardClient
from tests.servers import server_thread


@pytest.fixture(params=["tcp", "unix"])
def listen(request, tmp_path):
    """Where the server listens, the same before and after."""
    if request.param == "unix":
        return f"unix:{tmp_path}/board.sock"
    with server_thread(tmp_path / "probe") as address:
        return address  # which the system gives to nobody else so soon


def test_a_client_finds_its_server_again(connect, tmp_path, listen):
    client = connect(listen)
    for restart in range(3):
        with server_thread(tmp_path / "boards", listen=listen):
            client.claim_file(f"{restart}.go", "p")
            assert len(client.claims_for("p")) == restart + 1


def test_a_call_rides_over_a_restart(tmp_path, listen):
    with (
        ThreadPoolExecutor(1) as pool,
        BoardClient(listen) as client,
    ):
        with server_thread(tmp_path / "boards", listen=listen):
            client.claim_file("before.go", "p")
        call = pool.submit(client.claim_file, "meanwhile.go", "p")
        with server_thread(tmp_path / "boards", listen=listen):
            assert call.result().owner == "p"
            assert client.claims_for("p") == ["before.go", "meanwhile.go"]


async def test_a_tasks_call_rides_over_a_restart(tmp_path, listen):
    async with AsyncBoardClient(listen) as client:
        with server_thread(tmp_path / "boards", listen=listen):
            await client.claim_file("before.go", "p")
        call = asyncio.create_task(client.claim_file("meanwhile.go", "p"))
        await asyncio.sleep(0)  # let it begin
        with server_thread(tmp_path / "boards", listen=listen):
            assert (await call).owner == "p"
            assert await client.claims_for("p") == ["before.go", "meanwhile.go"]
