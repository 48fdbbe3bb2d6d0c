"""A call ends by its deadline, even if its connection breaks and the next gets no answer."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from board_client import AsyncBoardClient, BoardClient, BoardError, Contract, DeadlineExceeded
from tests.faults.network import Proxy

TIMEOUT = 0.5


@pytest.fixture
def broken_then_silent() -> Iterator[str]:
    """The address of a port that resets its first connection and never answers a later one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reset_the_first() -> None:
            first, _ = listening.accept()
            first.recv(1)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            first.close()

        resetting = threading.Thread(target=reset_the_first)
        resetting.start()
        host, port = listening.getsockname()
        yield f"{host}:{port}"
        resetting.join()


def test_a_call_whose_connection_breaks_waits_no_longer_than_its_timeout(broken_then_silent):
    begun = time.monotonic()
    with BoardClient(broken_then_silent, timeout=TIMEOUT) as client, pytest.raises(BoardError):
        client.list_phases()
    assert time.monotonic() - begun < 3 * TIMEOUT


def test_many_calls_whose_connection_breaks_wait_no_longer_than_their_timeout(broken_then_silent):
    async def call_often() -> list[object]:
        async with AsyncBoardClient(broken_then_silent, timeout=TIMEOUT) as client:
            calls = (client.list_phases() for _ in range(40))
            return await asyncio.gather(*calls, return_exceptions=True)

    begun = time.monotonic()
    assert all(isinstance(ended, BoardError) for ended in asyncio.run(call_often()))
    assert time.monotonic() - begun < 3 * TIMEOUT


def test_a_list_of_many_pages_is_one_call_with_one_timeout(server, board, connect):
    with BoardClient(server, board) as near:
        near.publish_contracts(Contract("p", "type", f"T{number}") for number in range(4000))
    with Proxy(server) as proxy:
        far = connect(proxy.address, board, timeout=1)
        assert far.file_owner("a.go") == ""
        proxy.delay(0.45)  # two pages arrive in time
        with pytest.raises(DeadlineExceeded):
            far.all_contracts()
