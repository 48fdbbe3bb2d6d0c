"""A client belongs to one process and one event loop; elsewhere its calls are refused."""

import asyncio
import copy
import pickle

import pytest

from board_client import AsyncBoardClient, BoardClient


def test_an_async_client_may_be_made_outside_of_a_loop(server, board):
    client = AsyncBoardClient(server, board)

    async def use():
        async with client:
            return await client.set_phase_state("p", "done")

    assert asyncio.run(use()).state == "done"


def test_an_async_client_that_is_never_used_closes_in_any_loop(server):
    client = AsyncBoardClient(server)
    asyncio.run(client.close())
    asyncio.run(client.close())


USES = {
    "a call": lambda client: client.list_phases(),
    "a snapshot": lambda client: client.get_snapshot(),
    "a watch": lambda client: anext(client.watch()),
    "closing": lambda client: client.close(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_an_async_client_is_refused_in_a_second_loop(server, board, use):
    async def run(use):
        return await use(client)

    client = AsyncBoardClient(server, board)
    with asyncio.Runner() as first:
        first.run(run(USES["a call"]))
        elsewhere = pytest.raises(RuntimeError, match="make one in each event loop")
        with asyncio.Runner() as second, elsewhere:
            second.run(run(use))
        first.run(run(USES["closing"]))


@pytest.mark.parametrize("kind", [BoardClient, AsyncBoardClient])
@pytest.mark.parametrize("take", [pickle.dumps, copy.deepcopy], ids=["pickled", "copied"])
def test_a_client_cannot_be_pickled_or_copied(kind, take):
    for client in (kind("127.0.0.1:1"), kind("127.0.0.1:1").session("w")):
        with pytest.raises(TypeError, match=r"127\.0\.0\.1:1 cannot be pickled or copied"):
            take(client)
