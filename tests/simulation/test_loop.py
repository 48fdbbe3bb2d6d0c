"""The simulated loop: its clock jumps, its order is random, and it detects endless callbacks."""

import asyncio
import random

import pytest

from tests.simulation.loop import Deadlock, Livelock, SimulatedLoop, Trace


@pytest.fixture
def loop():
    loop = SimulatedLoop(random.Random(1), 0.5, Trace())
    yield loop
    loop.close()


def run(loop, coroutine):
    return loop.run_until_complete(loop.create_task(coroutine))


def test_the_clock_jumps_to_the_next_timer(loop):
    before = loop.time()
    run(loop, asyncio.sleep(86_400))
    assert loop.time() == before + 86_400


def test_the_callbacks_of_one_callback_keep_their_order(loop):
    seen = []

    async def register(name):
        for n in range(20):
            loop.call_soon(seen.append, (name, n))

    async def both():
        await asyncio.gather(register("a"), register("b"))
        await asyncio.sleep(1)

    run(loop, both())
    for name in "ab":
        assert [n for of, n in seen if of == name] == list(range(20))
    assert seen != sorted(seen)


@pytest.mark.filterwarnings("ignore")
def test_an_await_that_never_yields_is_found(loop):
    async def starve():
        done = loop.create_future()
        done.set_result(None)
        while True:
            await asyncio.shield(done)

    with pytest.raises(Livelock, match="did not end"):
        run(loop, starve())


@pytest.mark.filterwarnings("ignore")
def test_callbacks_without_end_are_found(loop):
    def again():
        loop.call_soon(again)

    again()
    with pytest.raises(Livelock, match="the clock did not move"):
        run(loop, asyncio.sleep(1))


@pytest.mark.filterwarnings("ignore")
def test_a_wait_that_can_never_end_is_found(loop):
    async def wait():
        await loop.create_future()

    with pytest.raises(Deadlock, match="wait"):
        run(loop, wait())
