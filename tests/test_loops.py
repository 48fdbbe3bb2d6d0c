"""Event loops of one process: a cancelled call does not disturb another loop."""

import asyncio

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from tests.support.loops import runner
from tests.support.servers import server_thread

WATCHES = 20

left = []


async def watch_and_cancel(address):
    """Cancel streams, and close their channel, without waiting for gRPC to end them."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = BoardServiceStub(channel)
        streams = [stub.Watch(pb.WatchRequest(board="b")) for _ in range(WATCHES)]
        for stream in streams:
            await stream.read()
        for stream in streams:
            stream.cancel()


def test_calls_that_are_cancelled_disturb_no_other_loop(tmp_path, caplog):
    with server_thread(tmp_path, board="b") as address:
        with grpc.insecure_channel(address) as channel:
            BoardServiceStub(channel).OpenBoard(pb.OpenBoardRequest())
        for _ in range(10):
            runner().run(watch_and_cancel(address))
    assert caplog.records == []


@pytest.mark.parametrize("_", range(2))
async def test_a_task_that_a_test_leaves_is_cancelled_before_the_next(_):
    assert [task for task in asyncio.all_tasks() if task.get_name() == "left over"] == []
    left.append(asyncio.create_task(asyncio.Event().wait(), name="left over"))
