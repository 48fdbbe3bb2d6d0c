"""Idle boards are evicted, and reopened by the next call."""

import asyncio
import contextlib
from datetime import timedelta
from itertools import cycle

import pytest

from board_server.errors import BoardNotFound, ShuttingDown, StoreUnavailable
from board_server.model import BoardInfo, OnExpiry, PageRequest, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore, registry
from board_server.sqlite.leases import Leases
from tests.conformance.events import PATIENCE, Listener

RUNNING = PhaseChange("p", PhaseState.RUNNING)


@pytest.fixture
async def store(tmp_path):
    """A store with at most two open boards."""
    opened = SqliteStore(tmp_path, max_boards=2)
    yield opened
    await opened.close()


async def is_open(directory, board: str) -> bool:
    """Return whether a server has the board's lock."""
    other = SqliteStore(directory)
    try:
        await other.get_board(board)
    except StoreUnavailable:
        return True
    finally:
        await other.close()
    return False


async def open_boards(directory) -> list[str]:
    return [name for name in ("a", "b", "c") if await is_open(directory, name)]


class Idle(Listener):
    """A follower that does not keep its board open."""

    needed = False


async def test_for_one_more_board_the_least_recently_used_one_is_evicted(store, tmp_path):
    for board in ("a", "b"):
        await store.open_board(board)
    await store.get_phase_state("a", "p")
    await store.set_phase_state("a", RUNNING)
    await store.open_board("c")
    assert await open_boards(tmp_path) == ["a", "c"]


async def test_a_closed_board_is_unchanged_when_it_is_reopened(store):
    first = await store.open_board("a")
    await store.set_phase_state("a", RUNNING)
    for board in ("b", "c"):
        await store.open_board(board)
    assert (await store.get_phase_state("a", "p")).state == PhaseState.RUNNING
    again = await store.get_board("a")
    assert again == BoardInfo("a", first.board_id, 1, first.created_at)
    assert [commit.revision for commit in await store.list_events("a", 0, 1)] == [1]


async def test_the_pinned_board_is_never_evicted(tmp_path):
    store = SqliteStore(tmp_path, max_boards=2, pinned="a")
    for board in ("a", "b", "c"):
        await store.open_board(board)
    assert await open_boards(tmp_path) == ["a", "c"]
    await store.close()


async def a_session(store, board):
    session, _ = await store.open_session(board, "w", timedelta(minutes=1), OnExpiry.FAIL)
    return lambda: store.close_session(board, session.session_id)


async def a_follower(store, board):
    follower = Listener()
    await store.follow(board, follower)

    async def leave():
        follower.needed = False

    return leave


async def a_write(store, board):
    writing = asyncio.ensure_future(store.set_phase_state(board, RUNNING))
    await asyncio.sleep(0)  # the writer is about to get it
    return lambda: writing


async def a_write_whose_caller_has_gone(store, board):
    writing = asyncio.ensure_future(
        store.open_session(board, "w", timedelta(minutes=1), OnExpiry.FAIL)
    )
    follower = Listener()
    await store.follow(board, follower)
    await follower.until(lambda: follower.commits)
    follower.needed = False
    writing.cancel()

    async def end():
        (session,) = follower.commits[0].events
        await store.close_session(board, session.record.session_id)

    return end


async def a_list(store, board):
    listing = asyncio.ensure_future(store.get_snapshot(board))
    await asyncio.sleep(0)
    return lambda: listing


@pytest.mark.parametrize(
    "use", [a_session, a_follower, a_write, a_write_whose_caller_has_gone, a_list]
)
async def test_a_board_in_use_is_not_closed_for_another(tmp_path, use):
    store = SqliteStore(tmp_path, max_boards=1)
    await store.open_board("a")
    end = await use(store, "a")
    with pytest.raises(StoreUnavailable, match="in use as may be open, 1;"):
        await store.open_board("b")
    await end()
    await store.open_board("b")
    await store.close()


async def test_an_idle_follower_of_an_evicted_board_is_ended(store):
    await store.open_board("a")
    follower = Idle()
    await store.follow("a", follower)
    for board in ("b", "c"):
        await store.open_board(board)
    assert isinstance(follower.error, StoreUnavailable)
    await store.set_phase_state("a", RUNNING)
    assert follower.commits == []


async def test_an_idle_board_is_evicted_after_its_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "CHECK_INTERVAL", 0.01)
    store = SqliteStore(tmp_path, idle_timeout=0, pinned="b")
    follower = Idle()
    for board in ("a", "b"):
        await store.open_board(board)
        await store.follow(board, follower)
    await follower.until(lambda: follower.error)
    async with asyncio.timeout(PATIENCE):
        while await is_open(tmp_path, "a"):
            pass
    assert await is_open(tmp_path, "b")
    await store.close()


async def test_a_board_with_a_follower_stays_open(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "CHECK_INTERVAL", 0.01)
    store = SqliteStore(tmp_path, idle_timeout=0)
    unused, used = Idle(), Listener()
    for board, follower in (("a", unused), ("b", used)):
        await store.open_board(board)
        await store.follow(board, follower)
    await unused.until(lambda: unused.error)
    await store.set_phase_state("b", RUNNING)
    assert used.revisions == [1]
    await store.close()


async def as_soon_as_there_is_room(call):
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except StoreUnavailable:  # the other board is in use
                await asyncio.sleep(0)


async def test_a_caller_that_cancels_leaves_no_board_half_closed(tmp_path):
    store = SqliteStore(tmp_path, max_boards=1)
    await store.open_board("a")
    opening = asyncio.ensure_future(store.open_board("b"))
    for _ in range(3):  # it is closing a
        await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await as_soon_as_there_is_room(lambda: store.open_board("a"))
    await store.close()


async def test_callers_of_more_boards_than_may_be_open_take_turns(tmp_path):
    store = SqliteStore(tmp_path, max_boards=1)
    for board in ("a", "b"):
        await store.open_board(board)

    def write(board, number):
        change = PhaseChange(f"{number}", PhaseState.RUNNING)
        return as_soon_as_there_is_room(lambda: store.set_phase_state(board, change))

    calls = [write(board, number) for number in range(20) for board in ("a", "b")]
    await asyncio.gather(*calls)
    assert [(await store.get_board(board)).revision for board in ("a", "b")] == [20, 20]
    await store.close()


async def test_if_there_is_room_for_one_board_one_of_two_callers_is_answered(tmp_path):
    store = SqliteStore(tmp_path, max_boards=1)
    for board in ("a", "b", "c"):
        await store.open_board(board)
    answers = await asyncio.gather(
        *(store.get_board(board) for board in ("a", "b")), return_exceptions=True
    )
    first, second = answers
    assert isinstance(first, BoardInfo)
    assert isinstance(second, StoreUnavailable)
    await store.close()


async def test_a_read_does_not_recreate_a_board_that_is_deleted_meanwhile(tmp_path):
    store = SqliteStore(tmp_path, max_boards=1)

    class RemovesFiles(Idle):
        def ended(self, error):  # while its board is evicted
            super().ended(error)
            (tmp_path / "a.board.db").unlink()

    vandal = RemovesFiles()
    for board in ("a", "b"):
        await store.open_board(board)
    await store.follow("b", vandal)
    with pytest.raises(BoardNotFound):
        await store.list_phases("a", (), PageRequest(10))
    assert vandal.error
    assert not (tmp_path / "a.board.db").exists()
    await store.close()


async def test_a_board_whose_close_failed_can_be_reopened(tmp_path, monkeypatch, caplog):
    store = SqliteStore(tmp_path, max_boards=1)
    await store.open_board("a")
    with monkeypatch.context() as broken:

        async def fails(self):
            broken.undo()
            await self.close()
            raise RuntimeError("can't start new thread")

        broken.setattr(Leases, "close", fails)
        await store.open_board("b")
    assert "cannot close board a" in caplog.text
    assert (await store.open_board("a")).revision == 0
    await store.close()


async def test_a_board_whose_caller_cancelled_is_evicted_once_for_the_next_board(tmp_path, caplog):
    """In every order of the end of its opening and the opening of another."""
    store = SqliteStore(tmp_path, max_boards=1)
    for number in range(30):
        gone = asyncio.ensure_future(store.open_board("a"))
        await asyncio.sleep(0)
        gone.cancel()
        await as_soon_as_there_is_room(lambda: store.open_board("b"))
        for _ in range(number % 5):
            await asyncio.sleep(0)
    await store.close()
    assert caplog.records == []


@pytest.mark.timeout(30)  # a call that never yields would hang here
@pytest.mark.parametrize("turns", range(5))
async def test_a_read_of_a_missing_board_does_not_delay_the_call_that_creates_it(store, turns):
    """For every number of loop iterations between the two calls."""
    reading = asyncio.ensure_future(store.get_board("a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    assert (await store.open_board("a")).revision == 0
    with contextlib.suppress(BoardNotFound):
        await reading


@pytest.mark.timeout(30)
async def test_callers_that_come_in_every_turn_while_boards_open_and_close_are_all_answered(store):
    for board in ("a", "b", "c"):
        await store.open_board(board)
    calls = []
    for _, board in zip(range(300), cycle("abc"), strict=False):
        calls.append(asyncio.ensure_future(store.get_board(board)))
        await asyncio.sleep(0.001 if len(calls) % 10 == 0 else 0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, BoardInfo | StoreUnavailable) for answer in answers)


@pytest.mark.timeout(30)
async def test_a_store_closes_while_callers_come_in_every_turn(store):
    for board in ("a", "b", "c"):
        await store.open_board(board)
    calls = [asyncio.ensure_future(store.get_board("a"))]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.close())
    while not closing.done():
        calls.append(asyncio.ensure_future(store.get_board("b")))
        await asyncio.sleep(0)
    *_, last = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(last, ShuttingDown)
