"""For random conditions and random commits, WaitFor returns what the store would find."""

import asyncio
import random

import pytest

from board_server.model import (
    ContractCondition,
    ContractDraft,
    ContractKind,
    FileCondition,
    PhaseChange,
    PhaseCondition,
    PhaseState,
)
from board_server.sqlite import SqliteStore, open_board
from board_server.watch.hub import Hubs
from tests.conformance.events import PATIENCE

BOARD = "board"
KINDS = [ContractKind.TYPE, ContractKind.FUNCTION]
STATES = [PhaseState.QUEUED, PhaseState.DONE]


def a_condition(rng):
    match rng.randrange(6):
        case 0:
            return PhaseCondition(rng.choice("pq"), frozenset({rng.choice(STATES)}))
        case 1:
            return FileCondition(rng.choice("fg"))
        case _:
            fields = [rng.choice("pq"), rng.choice(KINDS), rng.choice("STU"), rng.choice("xyz")]
            named = rng.sample(range(4), rng.randint(1, 4))
            return ContractCondition(*(fields[n] if n in named else None for n in range(4)))


async def a_change(store, rng):
    match rng.randrange(8):
        case 0:
            phase = PhaseChange(rng.choice("pq"), rng.choice(STATES))
            await store.set_phase_state(BOARD, phase)
        case 1:
            await store.claim_file(BOARD, rng.choice("fg"), "owner")
        case 2:
            await store.release_claims(BOARD, "owner", [])
        case 3 if rng.random() < 0.3:
            await store.archive_board(BOARD, (await store.get_board(BOARD)).revision)
        case _:
            drafts = [
                ContractDraft(
                    rng.choice("pq"), rng.choice(KINDS), rng.choice("STU"), "", rng.choice("xyz")
                )
                for _ in range(rng.randint(1, 4))
            ]
            await store.publish_contracts(BOARD, drafts)


async def those_answered(store, waiting, *, at_once):
    """Check that WaitFor has returned where the store finds the conditions met; return those tasks.

    With `at_once` this is called after each commit, so no other call may have returned.
    Otherwise a call whose conditions were met at an earlier revision may have returned too.
    """
    answered = []
    for task, conditions in waiting.items():
        found = await store.find(BOARD, conditions)
        if None in found.value and (at_once or not task.done()):
            assert not task.done()
            continue
        async with asyncio.timeout(PATIENCE):
            value, revision = await task
        assert revision < found.revision or value == found.value
        answered.append(task)
    return answered


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in the thread"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_waiter_is_answered_with_the_first_revision_that_meets_its_conditions(
    tmp_path, seed, at_once, monkeypatch
):
    if not at_once:
        monkeypatch.setattr(open_board, "SHORT_QUERY", -1)  # commits arrive during the lookup
    rng = random.Random(seed)
    store = SqliteStore(tmp_path, synchronous="normal")
    await store.open_board(BOARD)
    hub = await Hubs(store).of(BOARD)
    waiting = {}
    answered = 0
    for _ in range(60):
        while len(waiting) < 20:
            conditions = tuple(a_condition(rng) for _ in range(rng.randint(1, 4)))
            waiting[asyncio.create_task(hub.wait_for(conditions))] = conditions
        await asyncio.sleep(0)  # let them begin
        for change in (None, a_change) if at_once else (a_change,):
            if change:
                await change(store, rng)
            for task in await those_answered(store, waiting, at_once=at_once):
                del waiting[task]
                answered += 1
    assert answered > 20
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    left = hub._waiters
    assert not any((left._by_topic, left._by_contract, left._asking, left._shapes))
    await store.close()


class SlowLookups(SqliteStore):
    """Delays the results of lookups until the test sets `proceed`."""

    def __init__(self, directory):
        super().__init__(directory)
        self.looked, self.proceed = asyncio.Event(), asyncio.Event()

    async def find(self, board, conditions):
        found = await super().find(board, conditions)
        self.looked.set()
        await self.proceed.wait()
        return found


async def test_a_contract_that_moves_to_another_package_during_the_lookup_counts_no_longer(
    tmp_path,
):
    def contract(producer, package):
        return ContractDraft(producer, ContractKind.TYPE, "T", "", package)

    store = SlowLookups(tmp_path)
    await store.open_board(BOARD)
    await store.publish_contract(BOARD, contract("p", "x"))
    hub = await Hubs(store).of(BOARD)
    done = PhaseCondition("r", frozenset({PhaseState.DONE}))
    waiting = asyncio.create_task(hub.wait_for([ContractCondition(None, None, "T", "x"), done]))
    await store.looked.wait()
    await store.publish_contract(BOARD, contract("p", "y"))
    await store.set_phase_state(BOARD, PhaseChange("r", PhaseState.DONE))
    store.proceed.set()
    await store.publish_contract(BOARD, contract("q", "x"))
    async with asyncio.timeout(PATIENCE):
        (found, _), revision = await waiting
    assert (found.producer, revision) == ("q", 4)
    await store.close()
