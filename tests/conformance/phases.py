"""Phases: set, read and listed."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_server.errors import StateMismatch
from board_server.model import PageRequest, PhaseChange, PhaseState
from tests.conformance.backend import BOARD, Conformance, contents, items, pages

STATES = [state for state in PhaseState if state]

IDS = ["0", "A", "a", "a-1", "a b", "b'\"", "z", "é", "ﬀ", "𝄞", "x" * 256]
"""IDs whose byte order differs from that of UTF-16 and of languages."""


def queued(phase_id: str, **fields) -> PhaseChange:
    return PhaseChange(phase_id, PhaseState.QUEUED, **fields)


class PhasesConformance(Conformance):
    async def test_an_unknown_phase_is_none(self, store):
        assert await store.get_phase_state(BOARD, "nobody") is None

    async def test_setting_a_phase_that_is_not_there_creates_it(self, store, clock):
        phase, _ = await store.set_phase_state(BOARD, queued("p", worker="w1"))
        assert (phase.phase_id, phase.state, phase.worker) == ("p", PhaseState.QUEUED, "w1")
        assert phase.posted_at == phase.updated_at == clock.now

    async def test_a_phase_reads_back_as_the_write_returned_it(self, store):
        for phase_id in IDS:
            phase, _ = await store.set_phase_state(BOARD, queued(phase_id, worker=phase_id))
            assert await store.get_phase_state(BOARD, phase_id) == phase

    async def test_any_state_may_follow_any_other_itself_included(self, store):
        for state in (state for pair in product(STATES, STATES) for state in pair):
            phase, _ = await store.set_phase_state(BOARD, PhaseChange("p", state))
            assert phase.state == state

    async def test_setting_an_equal_state_is_a_change(self, store):
        first = await store.set_phase_state(BOARD, queued("p"))
        second = await store.set_phase_state(BOARD, queued("p"))
        assert second.revision == first.revision + 1
        assert second.value.updated_at > first.value.updated_at

    async def test_posted_at_stays_and_updated_at_moves(self, store, clock):
        first, _ = await store.set_phase_state(BOARD, queued("p"))
        second, _ = await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.DONE))
        assert second.posted_at == first.posted_at
        assert second.updated_at == clock.now > first.updated_at

    async def test_updated_at_never_goes_back_though_the_clock_does(self, store, clock):
        first, _ = await store.set_phase_state(BOARD, queued("p"))
        clock.now -= timedelta(hours=1)
        second, _ = await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.DONE))
        assert second.updated_at >= first.updated_at
        assert second.state == PhaseState.DONE
        clock.now += timedelta(hours=2)
        third, _ = await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.DONE))
        assert third.updated_at == clock.now

    async def test_times_keep_their_microseconds(self, store, clock):
        for microsecond in (0, 1, 999_999, 120_000):
            clock.step, clock.now = timedelta(), clock.now.replace(microsecond=microsecond)
            phase, _ = await store.set_phase_state(BOARD, queued(f"p{microsecond}"))
            assert phase.posted_at == clock.now
            assert await store.get_phase_state(BOARD, phase.phase_id) == phase

    async def test_without_a_worker_the_phase_keeps_the_one_it_has(self, store):
        await store.set_phase_state(BOARD, queued("p", worker="w1"))
        phase, _ = await store.set_phase_state(BOARD, queued("p"))
        assert phase.worker == "w1"

    async def test_an_empty_worker_clears_the_one_it_has(self, store):
        await store.set_phase_state(BOARD, queued("p", worker="w1"))
        phase, _ = await store.set_phase_state(BOARD, queued("p", worker=""))
        assert phase.worker == ""

    async def test_another_worker_can_take_over_a_phase(self, store):
        await store.set_phase_state(BOARD, queued("p", worker="w1"))
        phase, _ = await store.set_phase_state(BOARD, queued("p", worker="w2"))
        assert phase.worker == "w2"

    async def test_a_new_phase_without_a_worker_has_an_empty_one(self, store):
        phase, _ = await store.set_phase_state(BOARD, queued("p"))
        assert phase.worker == ""

    async def test_the_expected_state_lets_the_change_through(self, store):
        await store.set_phase_state(BOARD, queued("p"))
        change = PhaseChange("p", PhaseState.RUNNING, expected_state=PhaseState.QUEUED)
        phase, _ = await store.set_phase_state(BOARD, change)
        assert phase.state == PhaseState.RUNNING

    async def test_another_state_than_expected_is_refused_and_changes_nothing(self, store):
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.DONE, "w1"))
        before = await contents(store)
        change = PhaseChange("p", PhaseState.RUNNING, "w2", expected_state=PhaseState.QUEUED)
        with pytest.raises(StateMismatch) as caught:
            await store.set_phase_state(BOARD, change)
        error = caught.value
        assert (error.phase_id, error.expected, error.actual) == ("p", "queued", "done")
        assert await contents(store) == before

    async def test_expecting_a_state_of_no_phase_is_refused_and_creates_none(self, store):
        before = await contents(store)
        with pytest.raises(StateMismatch) as caught:
            await store.set_phase_state(BOARD, queued("p", expected_state=PhaseState.QUEUED))
        assert caught.value.actual == ""
        assert await contents(store) == before

    async def test_a_phase_that_is_expected_not_to_exist_is_created(self, store):
        phase, _ = await store.set_phase_state(
            BOARD, queued("p", expected_state=PhaseState.UNSPECIFIED)
        )
        assert phase.state == PhaseState.QUEUED

    async def test_a_phase_that_was_expected_not_to_exist_is_not_changed(self, store):
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.DONE, "w1"))
        before = await contents(store)
        with pytest.raises(StateMismatch) as caught:
            await store.set_phase_state(BOARD, queued("p", expected_state=PhaseState.UNSPECIFIED))
        error = caught.value
        assert (error.phase_id, error.expected, error.actual) == ("p", "", "done")
        assert await contents(store) == before

    async def test_phases_are_listed_in_the_order_they_were_posted(self, store):
        for phase_id in reversed(IDS):
            await store.set_phase_state(BOARD, queued(phase_id))
        await store.set_phase_state(BOARD, PhaseChange(IDS[-1], PhaseState.DONE))
        listed = await items(lambda page: store.list_phases(BOARD, [], page))
        assert [phase.phase_id for phase in listed] == IDS[::-1]

    async def test_phases_posted_at_one_time_are_listed_by_the_bytes_of_their_ids(
        self, store, clock
    ):
        clock.step = timedelta()
        for phase_id in reversed(IDS):
            await store.set_phase_state(BOARD, queued(phase_id))
        listed = await items(lambda page: store.list_phases(BOARD, [], page))
        assert [phase.phase_id for phase in listed] == sorted(IDS, key=str.encode)

    async def test_a_listed_phase_equals_the_phase_that_is_read(self, store):
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.BLOCKED, "w1"))
        assert await items(lambda page: store.list_phases(BOARD, [], page)) == [
            await store.get_phase_state(BOARD, "p")
        ]

    async def test_the_list_keeps_to_the_states_that_are_named(self, store):
        for state in STATES:
            await store.set_phase_state(BOARD, PhaseChange(f"is {state}", state))
        for wanted in ([], [PhaseState.DONE], [PhaseState.FAILED, PhaseState.QUEUED], STATES):
            listed = await items(lambda page, wanted=wanted: store.list_phases(BOARD, wanted, page))
            assert {phase.state for phase in listed} == set(wanted or STATES)

    async def test_a_list_has_the_revision_of_its_reading(self, store):
        for count in (1, 2):
            await store.set_phase_state(BOARD, queued("p"))
            assert (await store.list_phases(BOARD, [], PageRequest(10))).revision == count

    @pytest.fixture
    async def thirty(self, store, clock):
        """The store with thirty phases, three and three of them posted at one time."""
        for index in range(30):
            clock.step = timedelta(seconds=index % 3 == 0)
            change = PhaseChange(f"p{7 * index % 30}", STATES[index % len(STATES)])
            await store.set_phase_state(BOARD, change)
        return store

    @settings(max_examples=40)
    @given(size=st.integers(1, 40), states=st.lists(st.sampled_from(STATES), unique=True))
    async def test_any_page_size_lists_the_same_phases(self, thirty, size, states):
        def list_page(page):
            return thirty.list_phases(BOARD, states, page)

        whole = await items(list_page)
        assert states or len(whole) == 30
        read = await pages(list_page, size)
        assert [phase for page in read for phase in page.items] == whole
        assert all(len(page.items) <= size for page in read)
