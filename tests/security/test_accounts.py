"""The bytes counted for a call are subtracted at its end, however it ends."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_server.config.schema import Limits
from board_server.errors import LimitExceeded
from board_server.rpc.limits import LARGE, Limiter

LIMITS = Limits(
    calls=4,
    calls_of_one=3,
    watches=2,
    waiters=2,
    snapshots=2,
    unread=4 * LARGE,
    held=4 * LARGE,
    held_in_all=6 * LARGE,
    sessions=2,
    boards=2,
    request=LARGE,
)


class Context:
    """The part of a call's context that the limiter uses."""

    def __init__(self):
        self.callbacks = []

    def peer(self):
        return "ipv4:192.0.2.1:1"

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def end(self):
        for callback in self.callbacks:
            callback(self)


sizes = st.sampled_from([0, 1, LARGE, 2 * LARGE, 5 * LARGE])
steps = st.one_of(
    st.tuples(st.just("hold"), sizes),
    st.tuples(st.just("reply"), sizes, st.booleans()),
    st.tuples(st.just("room"), sizes, sizes),
    st.tuples(st.just("session"), st.sampled_from(["", "x", "y", "z"]), st.booleans()),
)
calls = st.tuples(
    st.sampled_from(["GetPhaseState", "Watch", "WaitFor", "GetSnapshot"]),
    st.sampled_from(["", "a", "b"]),
    st.lists(steps, max_size=5),
)


async def make(limiter, method, caller, steps):
    """Run a call with these steps; an error or a cancellation ends it, as in the server."""
    context = Context()
    sessions = []
    try:
        holding = limiter.begin(method, caller, context)
        try:
            for step, *arguments in steps:
                await take(holding, step, arguments, sessions)
        finally:
            holding.end()
    except LimitExceeded:
        pass
    finally:
        context.end()
        for over in sessions:
            over()


async def take(holding, step, arguments, sessions):
    match step, arguments:
        case "hold", [size]:
            holding.hold(size)
        case "reply", [size, changed]:
            holding.reply(size, changed=changed)
        case "room", [before, after]:
            await holding.room(before)
            await asyncio.sleep(0)
            holding.resize(before, after)
        case "session", [board, new]:
            sessions.append(holding.session(board, new=new))


@given(made=st.lists(calls, max_size=8), turns=st.lists(st.integers(0, 7), max_size=8))
def test_nothing_stays_counted_whichever_calls_end_and_when(made, turns):
    async def run():
        limiter = Limiter(LIMITS)
        running = [asyncio.create_task(make(limiter, *call)) for call in made]
        for turn in turns:  # some callers cancel at any moment
            await asyncio.sleep(0)
            if turn < len(running):
                running[turn].cancel()
        for _ in range(100):
            await asyncio.sleep(0)
        for task in running:  # those that wait for budget that no call returns
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return limiter

    limiter = asyncio.run(run())
    assert (limiter.calls, limiter.held) == (0, 0)
    assert (dict(limiter._counts), limiter._boards, limiter._waiting) == ({}, {}, {})


@pytest.mark.parametrize("size", [0, 2 * LARGE])
def test_a_reply_is_counted_until_its_call_is_over(size):
    limiter, context = Limiter(LIMITS), Context()
    holding = limiter.begin("GetPhaseState", "a", context)
    holding.reply(size, changed=False)
    holding.end()
    assert limiter.held == size
    context.end()
    assert limiter.held == 0
