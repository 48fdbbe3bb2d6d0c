"""The checker finds the errors in hand-made histories, and none in those of the board."""

import random
import threading
import time
from collections import defaultdict
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_client import BoardClient, BoardError, FileAlreadyClaimed, StateMismatch
from board_server.model import Revised
from board_server.sqlite import SqliteStore
from tests.faults.linearizability import NEVER, Operation, claim, is_linearizable, phase
from tests.faults.network import Proxy
from tests.faults.program import Program
from tests.faults.soak import scaled
from tests.support.servers import server_thread

STATES = ("queued", "running", "done")
CLIENTS = 5
KEYS = 3
CALLS = scaled(25, 300)
CRASHES = scaled(4, 60)
DROPS = scaled(8, 40)
ROUNDS = scaled(1, 40)


def op(call, result, called, returned=NEVER):
    return Operation(call, result, called, returned)


def test_a_read_of_the_last_write_is_linearizable():
    history = [op(("set", "a"), "a", 0, 1), op(("get",), "a", 2, 3)]
    assert is_linearizable(history, "", phase)


def test_a_stale_read_is_not_linearizable():
    history = [op(("set", "a"), "a", 0, 1), op(("set", "b"), "b", 2, 3), op(("get",), "a", 4, 5)]
    assert not is_linearizable(history, "", phase)


def test_concurrent_writes_may_happen_in_either_order_but_only_in_one():
    writes = [op(("set", "a"), "a", 0, 9), op(("set", "b"), "b", 0, 9)]
    assert is_linearizable([*writes, op(("get",), "a", 10, 11)], "", phase)
    assert is_linearizable([*writes, op(("get",), "b", 10, 11)], "", phase)
    flicker = [op(("get",), "a", 10, 11), op(("get",), "b", 12, 13)]
    assert not is_linearizable([*writes, *flicker], "", phase)


def test_two_swaps_from_one_state_cannot_both_succeed():
    history = [op(("swap", "a", "b"), "b", 0, 9), op(("swap", "a", "c"), "c", 0, 9)]
    assert not is_linearizable(history, "a", phase)


def test_a_compare_and_set_that_happened_though_it_was_refused_is_found():
    history = [op(("swap", "a", "b"), ("mismatch", "b"), 0, 1), op(("get",), "b", 2, 3)]
    assert not is_linearizable(history, "a", phase)


def test_a_write_that_is_done_again_after_another_is_found():
    """A lost update: a's retry was done after b, and overwrote it."""
    history = [
        op(("set", "a"), "a", 0, 9),
        op(("get",), "a", 1, 2),
        op(("set", "b"), "b", 3, 4),
        op(("get",), "a", 10, 11),
    ]
    assert not is_linearizable(history, "", phase)


def test_two_owners_of_one_file_are_found():
    history = [op(("claim", "x"), "x", 0, 1), op(("claim", "y"), "y", 2, 3)]
    assert not is_linearizable(history, "", claim)
    released = op(("release", "x"), 1, 1.2, 1.8)
    assert is_linearizable([*history, released], "", claim)


def test_an_operation_in_doubt_may_have_happened_or_not_but_not_before_its_call():
    doubt = op(("set", "a"), None, 5)
    assert is_linearizable([doubt, op(("get",), "a", 6, 7)], "", phase)
    assert is_linearizable([doubt, op(("get",), "", 6, 7)], "", phase)
    assert is_linearizable([doubt, op(("get",), "", 6, 7), op(("get",), "a", 8, 9)], "", phase)
    assert not is_linearizable([doubt, op(("get",), "a", 1, 2)], "", phase)


CALL = st.one_of(
    st.tuples(st.just("set"), st.sampled_from("ab")),
    st.tuples(st.just("swap"), st.sampled_from("ab"), st.sampled_from("ab")),
    st.just(("get",)),
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            CALL,
            st.sampled_from(["a", "b", ("mismatch", "a")]),
            st.integers(0, 9),
            st.integers(0, 4) | st.just(NEVER),
        ),
        max_size=5,
    )
)
def test_it_agrees_with_trying_every_order(drawn):
    history = [op(call, result, at, at + 0.5 + lasted) for call, result, at, lasted in drawn]
    assert is_linearizable(history, "a", phase) == tried(history, "a")


def tried(history, initial):
    """The definition: some order in which no operation precedes one that returned before it."""
    certain = [o for o in history if not o.in_doubt]
    doubtful = [o for o in history if o.in_doubt]
    subsets = [
        [o for n, o in enumerate(doubtful) if bits >> n & 1] for bits in range(1 << len(doubtful))
    ]
    return any(
        explains(order, initial) for some in subsets for order in permutations(certain + some)
    )


def explains(order, initial):
    state = initial
    for n, operation in enumerate(order):
        if any(later.returned < operation.called for later in order[n + 1 :]):
            return False
        state, result = phase(state, operation.call)
        if not operation.in_doubt and result != operation.result:
            return False
    return True


class Recorder:
    """The calls and results of all clients, by object."""

    def __init__(self):
        self.histories: dict[tuple[str, str], list[Operation]] = defaultdict(list)

    def record(self, client, key, call):
        """Make a call and record its result; without an answer it is in doubt."""
        called = time.monotonic()
        try:
            result = ask(client, *key, call)
        except StateMismatch as error:
            result = ("mismatch", error.actual)
        except FileAlreadyClaimed as error:
            result = ("conflict", error.owner)
        except BoardError:
            self.histories[key].append(op(call, None, called))
            return
        self.histories[key].append(op(call, result, called, time.monotonic()))

    def check(self):
        for (kind, name), history in self.histories.items():
            step = {"phase": phase, "file": claim}[kind]
            assert is_linearizable(history, "", step), f"{kind} {name}: {sorted_by_call(history)}"


def sorted_by_call(history):
    return "\n".join(map(str, sorted(history, key=lambda o: o.called)))


def ask(client, kind, name, call):
    match kind, call:
        case "phase", ("set", state):
            return client.set_phase_state(name, state).state
        case "phase", ("swap", expected, state):
            return client.set_phase_state(name, state, expected_state=expected).state
        case "phase", ("get",):
            return client.get_phase_state(name)
        case "file", ("claim", owner):
            return client.claim_file(name, owner).owner
        case "file", ("release", owner):
            return client.release_claims(owner, [name])
        case "file", ("owner",):
            return client.file_owner(name)


def any_call(rng, me):
    """Draw an operation on one of a few objects."""
    states = (rng.choice(STATES), rng.choice(STATES))
    kind, call = rng.choice(
        (
            ("phase", ("set", states[0])),
            ("phase", ("swap", *states)),
            ("phase", ("get",)),
            ("file", ("claim", me)),
            ("file", ("release", me)),
            ("file", ("owner",)),
        )
    )
    return (kind, f"{rng.randrange(KEYS)}"), call


def wander(recorder, client, me, rng):
    for _ in range(CALLS):
        recorder.record(client, *any_call(rng, me))


def wander_together(recorder, address, seed, meanwhile=None):
    clients = [BoardClient(address, "nebula", timeout=5) for _ in range(CLIENTS)]
    threads = [
        threading.Thread(
            target=wander,
            args=(recorder, client, f"owner-{n}", random.Random(f"{seed} {n}")),
        )
        for n, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    if meanwhile:
        meanwhile(threads)
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_histories_with_crashes_are_linearizable(tmp_path, seed):
    recorder = Recorder()

    def crash(threads):
        rng = random.Random(seed)
        for _ in range(CRASHES):
            server.kill()
            server.start(crash_at=f"{rng.choice(POINTS)}:{rng.randint(5, 30)}")
            while server.process.poll() is None and any(t.is_alive() for t in threads):
                threads[0].join(0.05)
        server.kill()
        server.start()

    with Program(tmp_path, "--board", "nebula") as server:
        server.start()
        wander_together(recorder, server.address, seed, crash)
    recorder.check()


POINTS = ("before-events", "before-commit", "after-commit", "before-reply")


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_histories_with_connections_that_drop_are_linearizable(tmp_path, seed):
    recorder = Recorder()
    with server_thread(tmp_path, board="nebula") as address, Proxy(address) as proxy:

        def disturb(threads):
            rng = random.Random(seed)
            for _ in range(DROPS):
                proxy.swallow_replies()
                proxy.wait_for_swallowed(rng.randint(1, 5), 0.2)
                rng.choice((proxy.reset_all, proxy.half_close_all))()
                threads[0].join(0.5)

        wander_together(recorder, proxy.address, seed, disturb)
    recorder.check()


class LosesUpdates(SqliteStore):
    """A store that reads and then writes, without a transaction."""

    async def set_phase_state(self, board, change, key=None):
        if change.expected_state is None:
            return await super().set_phase_state(board, change, key)
        current = await self.get_phase_state(board, change.phase_id)
        if current is None or current.state != change.expected_state:
            return await super().set_phase_state(board, change, key)
        return await super().set_phase_state(board, replace(change, expected_state=None), key)


class GivesFilesTwice(SqliteStore):
    """A store that grants every claim."""

    async def claim_file(self, board, filepath, owner, session_id="", key=None):
        try:
            return await super().claim_file(board, filepath, owner, session_id, key)
        except Exception as error:
            held = error.conflicts[0]
            return Revised(replace(held, owner=owner), 1)


@pytest.mark.parametrize("broken", [LosesUpdates, GivesFilesTwice])
def test_a_store_that_is_not_linearizable_is_found(tmp_path, broken):
    recorder = Recorder()
    with server_thread(tmp_path, board="nebula", store=broken) as address:
        for seed in range(20):
            wander_together(recorder, address, seed)
            try:
                recorder.check()
            except AssertionError:
                return
    pytest.fail(f"nobody noticed that {broken.__name__}")
