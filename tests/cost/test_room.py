"""Limits on unread bytes: the order in which streams get budget, and how many are woken."""

import asyncio

import pytest

from board_server.config.schema import Config
from board_server.errors import LimitExceeded
from board_server.rpc.limits import Holding, Limiter

MIB = 2**20
READER = "unread bytes", "reader"


@pytest.fixture
def limiter():
    return Limiter(Config(max_unread=4 * MIB, max_held=4 * MIB, max_held_in_all=16 * MIB).limits)


class Streams:
    """Streams that wait for room, and the order in which they get it."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self.given: list[int] = []

    def ask(self, number: int, size: int) -> asyncio.Task[None]:
        async def wait() -> None:
            await self._limiter.room(READER, size)
            self.given.append(number)

        return asyncio.create_task(wait())


async def settle() -> None:
    """Run all tasks as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_budget_is_granted_in_order_and_wakes_only_the_streams_that_get_it(limiter):
    streams = Streams(limiter)
    limiter.more(READER, 4 * MIB)
    waiting = [streams.ask(number, MIB) for number in range(1_000)]
    await settle()
    futures = [each.given for each in limiter._waiting[READER]]
    limiter.less(READER, MIB)
    assert sum(future.done() for future in futures) == 1
    limiter.less(READER, 2 * MIB)
    await settle()
    assert streams.given == [0, 1, 2]
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (limiter.held, limiter._waiting) == (4 * MIB, {})


async def test_a_large_reply_is_not_overtaken_by_small_ones_forever(limiter):
    streams = Streams(limiter)
    limiter.more(READER, 2 * MIB)
    streams.ask(0, 4 * MIB)
    await settle()
    small = streams.ask(1, MIB)
    await settle()
    assert streams.given == []
    limiter.less(READER, 2 * MIB)
    await settle()
    assert streams.given == [0]
    limiter.less(READER, 4 * MIB)
    await small
    assert limiter.held == MIB


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancelled_stream_gives_its_room_to_the_next(limiter, when):
    streams = Streams(limiter)
    limiter.more(READER, 4 * MIB)
    first, second = streams.ask(0, 3 * MIB), streams.ask(1, 2 * MIB)
    await settle()
    if when == "before":
        limiter.less(READER, 2 * MIB)  # room for the second one only
        first.cancel()
    else:
        limiter.less(READER, 3 * MIB)
        first.cancel()  # it has been given room but has not run yet
    await second
    assert streams.given == [1]
    assert limiter.held == (4 * MIB if when == "before" else 3 * MIB)


def test_callers_at_their_limits_do_not_exclude_another(limiter):
    for caller in range(5):
        for kind in ("held bytes", "unread bytes"):
            while limiter.fits((kind, f"{caller}"), MIB // 16):
                limiter.more((kind, f"{caller}"), MIB // 16)
    limiter.refuse(("held bytes", "honest"), MIB // 64)
    with pytest.raises(LimitExceeded):
        limiter.refuse(("held bytes", "0"), MIB // 64)


async def test_a_small_message_does_not_wait_for_room(limiter):
    """Most events are: a watch gets them although other watches of its caller are not read."""
    limiter.more(("unread bytes", "reader"), 4 * MIB)
    holding = Holding(limiter, None, "reader", None)
    await holding.room(1_000)
    holding.resize(1_000, 900)
    holding.resize(900, 0)
    holding.end()
    assert limiter.held == 4 * MIB
