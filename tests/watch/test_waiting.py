"""WaitFor returns the first revision at which all conditions are met, and its evidence."""

import asyncio
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_server.model import (
    ContractCondition,
    ContractKind,
    FileCondition,
    PhaseChange,
    PhaseCondition,
    PhaseState,
)
from board_server.sqlite import SqliteStore
from board_server.watch.hub import Hubs
from tests.conformance.backend import draft
from tests.conformance.events import PATIENCE, history, listening
from tests.watch.replay import Replayed

DONE = PhaseCondition("p", frozenset({PhaseState.DONE}))

packages = st.sampled_from(["x", "y"])
paths = st.sampled_from(["a.go", "b.go"])
contracts = st.builds(
    ContractCondition,
    st.none() | st.sampled_from("pq"),
    st.none() | st.just(ContractKind.TYPE),
    st.sampled_from(["T", "T", None]),
    st.just("x") | st.none(),
).filter(lambda condition: condition.producer or condition.name)
conditions = st.builds(
    lambda others: [*others, DONE],
    st.lists(contracts | st.builds(FileCondition, paths), min_size=1, max_size=2),
)


def set_state(state):
    return lambda s, b: s.set_phase_state(b, PhaseChange("p", state))


def claim(path):
    return lambda s, b: s.claim_file(b, path, "p")


def release(path):
    return lambda s, b: s.release_claims(b, "p", [path])


def publish(producer, signature, package):
    written = draft("T", producer, kind=ContractKind.TYPE, signature=signature, package=package)
    return lambda s, b: s.publish_contract(b, written)


def calls(packages):
    """Return a strategy of functions that call a store for a board."""
    return st.one_of(
        st.builds(set_state, st.sampled_from([PhaseState.RUNNING, PhaseState.DONE])),
        st.builds(claim, paths),
        st.builds(release, paths),
        st.builds(publish, st.sampled_from("pq"), st.sampled_from(["one", "two"]), packages),
        st.builds(publish, st.sampled_from("pq"), st.sampled_from(["one", "two"]), packages),
    )


_numbers = count()


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path, synchronous="normal")
    yield store
    await store.close()


async def check(store, wanted, before, groups):
    """Wait during groups of calls; compare the result with a board rebuilt from the events."""
    board = f"board-{next(_numbers)}"
    await store.open_board(board)
    for call in before:
        await call(store, board)
    listener = await listening(store, board)
    hub = await Hubs(store).of(board)

    replayed = Replayed()
    replayed.apply(await history(store, board=board))
    waiting = asyncio.create_task(hub.wait_for(wanted))
    await asyncio.sleep(0)  # let it begin
    for group in groups:
        await asyncio.gather(*(call(store, board) for call in group))

    expected = None
    for commits in ([], *([commit] for commit in listener.commits)):
        replayed.apply(commits)
        evidence = replayed.evidence(wanted)
        if None not in evidence:
            expected = (evidence, replayed.revision)
            break
    if expected is None:
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    else:
        async with asyncio.timeout(PATIENCE):
            assert await waiting == expected


@settings(max_examples=60)
@given(
    wanted=conditions,
    before=st.lists(calls(st.just("x")), max_size=4),
    groups=st.lists(st.lists(calls(st.just("x")), min_size=1, max_size=5), max_size=5),
)
async def test_a_waiter_sees_every_revision_though_many_are_made_at_once(
    store, wanted, before, groups
):
    await check(store, wanted, before, groups)


@settings(max_examples=60)
@given(
    wanted=conditions,
    before=st.lists(calls(packages), max_size=4),
    one_by_one=st.lists(calls(packages), max_size=15),
)
async def test_a_contract_that_moves_to_another_package_counts_no_longer(
    store, wanted, before, one_by_one
):
    await check(store, wanted, before, [[call] for call in one_by_one])


async def test_another_contract_replaces_one_that_moves_to_another_package(store):
    """Also one that was published before the call began."""
    await store.open_board("b")
    for producer in "pq":
        await store.publish_contract("b", draft("T", producer, package="x"))
    hub = await Hubs(store).of("b")
    condition = ContractCondition(None, None, "T", "x")
    done = PhaseCondition("r", frozenset({PhaseState.DONE}))
    waiting = asyncio.create_task(hub.wait_for([condition, done]))
    await asyncio.sleep(0)  # let it begin
    await store.publish_contract("b", draft("T", "p", package="y"))
    await store.set_phase_state("b", PhaseChange("r", PhaseState.DONE))
    async with asyncio.timeout(PATIENCE):
        (contract, phase), revision = await waiting
    assert (contract.producer, phase.phase_id, revision) == ("q", "r", 4)
