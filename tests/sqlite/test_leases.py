"""Sessions expire correctly even if the storage or the machine is slow."""

import asyncio
import gc
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from board_server.errors import SessionExpired
from board_server.model import Cause, Change, OnExpiry, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore
from tests.conformance.backend import ALL, BOARD
from tests.conformance.events import PATIENCE, listening

SHORT = timedelta(milliseconds=50)


class Disk:
    """Refuses every commit while `refusing`; replaces the file `replaces` in the next one."""

    def __init__(self):
        self.refusing = False
        self.refused = asyncio.Event()
        self.replaces: Path | None = None
        self.replaced = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self):
        if self.replaces:
            copy = shutil.copy(self.replaces, self.replaces.with_name("copy"))
            Path(copy).replace(self.replaces)
            self.replaces = None
            self._loop.call_soon_threadsafe(self.replaced.set)
        if self.refusing:
            self._loop.call_soon_threadsafe(self.refused.set)
        return self.refusing


@pytest.fixture
async def disk(connection_hook):
    disk = Disk()
    connection_hook(lambda connection: connection.set_commit_hook(disk))
    return disk


@pytest.fixture
async def store(disk, unopened):  # noqa: ARG001  the disk is there before the store
    await unopened.open_board(BOARD)
    return unopened


async def working(store):
    """Open a short session in which a phase runs; return its ID."""
    session, _ = await store.open_session(BOARD, "w", SHORT, OnExpiry.FAIL)
    change = PhaseChange("p", PhaseState.RUNNING, session_id=session.session_id)
    await store.set_phase_state(BOARD, change)
    return session.session_id


async def test_the_end_of_a_session_that_failed_on_the_disk_is_retried(store, disk):
    listener = await listening(store)
    session_id = await working(store)
    disk.refusing = True
    async with asyncio.timeout(PATIENCE):
        await disk.refused.wait()
    with pytest.raises(SessionExpired):
        await store.renew_session(BOARD, session_id)
    disk.refusing = False
    commit = await listener.change(Change.SESSION_ENDED)
    assert {event.cause for event in commit.events} == {Cause.SESSION_EXPIRED}
    assert (await store.get_phase_state(BOARD, "p")).state == PhaseState.FAILED


async def test_a_store_closes_though_the_disk_does_not_take_the_end_of_a_session(
    store, disk, directory
):
    session_id = await working(store)
    disk.refusing = True
    async with asyncio.timeout(PATIENCE):
        await disk.refused.wait()
        await store.close()
    disk.refusing = False
    again = SqliteStore(directory)
    (session,) = (await again.list_sessions(BOARD, ALL)).items
    assert session.session_id == session_id
    await again.close()


async def test_renewals_that_arrived_while_the_server_was_paused_count(store):
    """The loop is blocked for longer than the ttl while a renewal is on its way."""
    session, _ = await store.open_session(BOARD, "w", SHORT, OnExpiry.FAIL)
    loop = asyncio.get_running_loop()

    async def arrive():
        for _ in range(5):  # reading a call takes some iterations of the loop
            await asyncio.sleep(0)
        return await store.renew_session(BOARD, session.session_id)

    renewal = loop.create_task(arrive())
    before = loop.time()
    while loop.time() < before + 4 * SHORT.total_seconds():
        pass
    assert (await renewal).value.session_id == session.session_id
    assert (await store.list_sessions(BOARD, ALL)).items != []


async def test_no_session_ends_while_calls_that_have_arrived_are_unread(store):
    asked, read = asyncio.Event(), asyncio.Event()

    async def caught_up():
        asked.set()
        await read.wait()

    store.expire_after(caught_up)
    session, _ = await store.open_session(BOARD, "w", SHORT, OnExpiry.FAIL)
    async with asyncio.timeout(PATIENCE):
        await asked.wait()
        await store.renew_session(BOARD, session.session_id)
        asked.clear()
        read.set()
        assert await store.get_session(BOARD, session.session_id)
        listener = await listening(store)
        await asked.wait()  # its ttl has elapsed again
        commit = await listener.change(Change.SESSION_ENDED)
    assert {event.cause for event in commit.events} == {Cause.SESSION_EXPIRED}


async def test_the_end_of_a_session_meets_files_that_are_being_replaced(store, disk, file):
    """Its outcome is unknown: the board is reopened, and no task ends with an error."""
    failed = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    await working(store)
    disk.replaces = file
    async with asyncio.timeout(PATIENCE):
        await disk.replaced.wait()
        await store.open_board(BOARD)
    gc.collect()  # asyncio reports an exception that was not retrieved
    assert failed == []


async def test_a_closed_board_expires_no_session(store):
    opening = asyncio.create_task(working(store))
    await asyncio.sleep(0)  # let it begin
    await store.close()
    await asyncio.wait([opening])
    assert opening.exception() is not None
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
