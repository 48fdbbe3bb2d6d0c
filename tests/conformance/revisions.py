"""Revisions: one for each call that changes something, none for others."""

import pytest

from board_server.errors import FileAlreadyClaimed, StateMismatch
from board_server.model import PhaseChange, PhaseState
from tests.conformance.backend import (
    BOARD,
    READS,
    WRITES,
    Conformance,
    contents,
    draft,
    each,
    fill,
    revision_of,
)

ALWAYS_A_CHANGE = {"set_phase_state", "complete_phase", "open_session"}


class RevisionsConformance(Conformance):
    @each(WRITES)
    async def test_a_change_makes_the_next_revision_and_returns_it(self, store, call):
        await fill(store)
        before = await revision_of(store)
        assert (await call(store, BOARD)).revision == before + 1
        assert await revision_of(store) == before + 1

    @each({name: call for name, call in WRITES.items() if name not in ALWAYS_A_CHANGE})
    async def test_a_repeated_change_makes_none_and_returns_the_current_one(self, store, call):
        await fill(store)
        await call(store, BOARD)
        before = await contents(store)
        assert (await call(store, BOARD)).revision == before[0]
        assert await contents(store) == before

    @each(READS)
    async def test_reading_makes_no_revision(self, store, call):
        await fill(store)
        before = await revision_of(store)
        await call(store, BOARD)
        assert await revision_of(store) == before

    @each(WRITES)
    async def test_revisions_continue_after_a_reopening(self, store, reopen, call):
        await fill(store)
        before = await revision_of(store)
        store = await reopen()
        assert await revision_of(store) == before
        assert (await call(store, BOARD)).revision == before + 1

    async def test_a_call_that_raises_makes_no_revision(self, store):
        await fill(store)
        before = await contents(store)
        with pytest.raises(FileAlreadyClaimed):
            await store.claim_file(BOARD, "board.go", "another")
        with pytest.raises(StateMismatch):
            await store.set_phase_state(
                BOARD, PhaseChange("store", PhaseState.DONE, expected_state=PhaseState.QUEUED)
            )
        assert await contents(store) == before
        assert (await store.publish_contract(BOARD, draft("Next"))).revision == before[0] + 1
