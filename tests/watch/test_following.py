"""A hub that cannot follow its board is forgotten, so that the next call retries."""

import asyncio
import secrets
from dataclasses import replace

import pytest

from board_server.errors import BoardNotFound, StoreUnavailable
from board_server.sqlite import SqliteStore
from board_server.watch.hub import Hubs


class SlowToFollow(SqliteStore):
    """Delays its first follower until `proceed` is set, then raises `error` if there is one."""

    def __init__(self, directory, error=None):
        super().__init__(directory)
        self.asked, self.proceed, self._error = asyncio.Event(), asyncio.Event(), error

    async def follow(self, board, follower):
        if not self.asked.is_set():
            self.asked.set()
            await self.proceed.wait()
            if self._error:
                raise self._error
        return await super().follow(board, follower)


async def test_an_error_that_no_caller_received_is_not_raised_for_the_next_one(tmp_path):
    store = SlowToFollow(tmp_path)
    hubs = Hubs(store)
    first = asyncio.ensure_future(hubs.of("b"))
    await store.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    store.proceed.set()  # it fails: there is no such board
    await asyncio.sleep(0)
    await store.open_board("b")
    assert (await hubs.of("b")).revision == 0
    await store.close()


async def test_hubs_that_are_closed_leave_no_task_behind(tmp_path):
    store = SlowToFollow(tmp_path)
    await store.open_board("b")
    hubs = Hubs(store)
    before = asyncio.all_tasks()
    caller = asyncio.create_task(hubs.of("b"))
    await store.asked.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert asyncio.all_tasks() > before
    hubs.shutdown()
    await hubs.close()
    assert asyncio.all_tasks() == before
    await store.close()


class ChangesIdentity(SqliteStore):
    """Returns another board ID each time."""

    async def get_board(self, board):
        info = await super().get_board(board)
        return replace(info, board_id=secrets.token_hex())


@pytest.mark.timeout(30)  # a loop that never yields would hang the test
async def test_a_read_fails_if_its_board_is_replaced_again_and_again(tmp_path):
    store = ChangesIdentity(tmp_path)
    await store.open_board("b")
    with pytest.raises(StoreUnavailable, match="replaced"):
        await Hubs(store).caught_up("b")
    await store.close()


@pytest.mark.parametrize("error", [BoardNotFound("b"), RuntimeError("can't start new thread")])
async def test_only_the_call_that_starts_a_hub_fails_with_its_error(tmp_path, error):
    store = SlowToFollow(tmp_path, error)
    await store.open_board("b")
    store.proceed.set()
    hubs = Hubs(store)
    with pytest.raises(type(error)):
        await hubs.of("b")
    assert (await hubs.of("b")).revision == 0
    await store.close()
