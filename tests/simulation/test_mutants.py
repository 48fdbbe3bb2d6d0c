"""The simulation finds each defect that is put into the server within its first WITHIN seeds."""

from itertools import count, islice

import pytest

from tests.simulation.history import Unexplained
from tests.simulation.loop import Defect, Livelock
from tests.simulation.mutants import (
    a_cache_that_is_read_before_its_hub_has_caught_up,
    a_get_that_starves_its_callback,
    a_lease_that_is_renewed_after_its_end,
    a_waiter_that_registers_too_late,
)
from tests.simulation.run import Plan, simulate

WITHIN = 60

# A simulation that a defect ends leaves coroutines that are never awaited.
pytestmark = pytest.mark.filterwarnings("ignore")


def found(mutant, mix):
    """Return the defect found in the first seeds of a mix, None if there is none."""
    for seed in islice((seed for seed in count() if Plan.draw(seed).mix == mix), WITHIN):
        try:
            simulate(seed, mutant())
        except Defect as defect:
            return defect
    return None


def test_it_finds_the_callback_that_starved_the_whole_server():
    """The server once had this defect: clients that polled for a board until it opened hung it."""
    defect = found(a_get_that_starves_its_callback, "openings")
    assert isinstance(defect, Livelock)


def test_it_finds_a_lost_wake_up():
    defect = found(a_waiter_that_registers_too_late, "waits")
    # The waiter is never woken, or a later commit wakes it: too late, as the lost one met it.
    assert str(defect).startswith(("a WaitFor was forgotten", "no state"))
    assert "WaitFor" in str(defect)


def test_it_finds_a_lease_that_is_renewed_after_its_end():
    defect = found(a_lease_that_is_renewed_after_its_end, "all")
    assert str(defect).startswith("session")


def test_it_finds_a_cache_that_is_read_before_its_hub_has_caught_up():
    defect = found(a_cache_that_is_read_before_its_hub_has_caught_up, "reads")
    assert isinstance(defect, Unexplained)
