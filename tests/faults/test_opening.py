"""Boards are opened, closed and deleted under load: every call is answered."""

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from tests.faults.program import Program
from tests.faults.soak import scaled

CLIENTS = 16
DEADLINE = 15.0
"""Seconds that a call may take on a busy machine; a call that hangs never ends."""

GRACE = 3
SECONDS = scaled(2, 300)
BOARDS = [f"board-{number}" for number in range(8)]
REFUSED = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE}
"""The errors of calls while boards are opened and deleted: no such board, or too many open."""


@pytest.fixture
def server(tmp_path):
    """A server in its own process, so that a test can kill one that hangs."""
    options = ("--board", "default", "--max-boards", "4", "--grace", str(GRACE))
    with Program(tmp_path, *options, "--log-level", "error") as program:
        program.start()
        yield program


def connection(server: Program) -> grpc.aio.Channel:
    # A pool of its own, or all channels of this process would be one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(server.address, options=options)


def assert_stops_in_time(server: Program) -> None:
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < GRACE + DEADLINE


async def get(stub: BoardServiceStub, board: str) -> grpc.StatusCode:
    """Read a phase of the board; return the status code, which must be an expected one."""
    request = pb.GetPhaseStateRequest(board=board, phase_id="p")
    try:
        await stub.GetPhaseState(request, timeout=DEADLINE)
    except grpc.RpcError as error:
        if error.code() not in REFUSED:
            raise
        return error.code()
    return grpc.StatusCode.OK


async def test_readers_that_poll_a_board_until_it_is_opened_all_see_it(server):
    async def poll(stub: BoardServiceStub, board: str) -> None:
        while await get(stub, board) is not grpc.StatusCode.OK:
            pass

    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(connection(server)) for _ in range(CLIENTS)]
        stubs = [BoardServiceStub(channel) for channel in channels]
        for number in range(30):
            board = f"b{number}"
            readers = [asyncio.create_task(poll(stub, board)) for stub in stubs]
            await get(stubs[0], board)
            await stubs[0].OpenBoard(pb.OpenBoardRequest(board=board), timeout=DEADLINE)
            await asyncio.gather(*readers)
    assert_stops_in_time(server)


async def test_calls_for_more_boards_than_may_be_open_are_all_answered(server):
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = BoardServiceStub(channel)
        for board in BOARDS[:6]:
            await stub.OpenBoard(pb.OpenBoardRequest(board=board), timeout=DEADLINE)
        for _ in range(20):
            codes = await asyncio.gather(*(get(stub, board) for board in BOARDS[:6] * 2))
            assert grpc.StatusCode.OK in codes
    assert_stops_in_time(server)


async def test_clients_that_poll_boards_while_others_open_and_delete_them_are_all_answered(
    server, tmp_path
):
    """With BOARD_SOAK=1 for five minutes."""
    over = time.monotonic() + SECONDS
    counts: Counter[str] = Counter()
    slowest = 0.0

    async def poll(stub: BoardServiceStub, rng: random.Random) -> None:
        nonlocal slowest
        while (begun := time.monotonic()) < over:
            code = await get(stub, rng.choice(BOARDS))
            slowest = max(slowest, time.monotonic() - begun)
            counts[code.name] += 1

    async def open_boards(stub: BoardServiceStub, rng: random.Random) -> None:
        while time.monotonic() < over:
            try:
                request = pb.OpenBoardRequest(board=rng.choice(BOARDS))
                await stub.OpenBoard(request, timeout=DEADLINE)
                counts["opened"] += 1
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                counts["not opened"] += 1

    async def delete_boards(stub: BoardServiceStub, rng: random.Random) -> None:
        while time.monotonic() < over:
            await get(stub, rng.choice(BOARDS))
            delete(tmp_path / f"{rng.choice(BOARDS)}.board.db")
            counts["deleted"] += 1

    async with grpc.aio.insecure_channel(server.address) as channel, asyncio.TaskGroup() as group:
        stub = BoardServiceStub(channel)
        work = [poll] * CLIENTS + [open_boards] * 3 + [delete_boards]
        for number, each in enumerate(work):
            group.create_task(each(stub, random.Random(number)))
    print(f"in {SECONDS} s: {dict(counts)}; the slowest read took {slowest:.3f} s")  # noqa: T201
    assert counts["OK"]
    assert counts["opened"]
    assert_stops_in_time(server)


def delete(file: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
