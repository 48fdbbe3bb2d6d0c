"""Idempotency keys: a retried call has the outcome of the first attempt."""

import asyncio
from datetime import timedelta

import pytest

from board_server.errors import (
    BoardReplaced,
    FileAlreadyClaimed,
    InvalidArgument,
    RevisionMismatch,
    SessionExpired,
    StateMismatch,
)
from board_server.model import Completion, OnExpiry, PhaseChange, PhaseState
from tests.conformance.backend import (
    BOARD,
    Conformance,
    contents,
    draft,
    each,
    fill,
    key_of,
    revision_of,
)

KEY = key_of("once")

running_if_queued = PhaseChange("p", PhaseState.RUNNING, expected_state=PhaseState.QUEUED)

WRITES = {
    "set_phase_state": lambda s, k: s.set_phase_state(
        BOARD, PhaseChange("new", PhaseState.QUEUED), key=k
    ),
    "publish_contract": lambda s, k: s.publish_contract(BOARD, draft("New"), key=k),
    "publish_contracts": lambda s, k: s.publish_contracts(BOARD, [draft("New")], key=k),
    "claim_file": lambda s, k: s.claim_file(BOARD, "new.go", "store", key=k),
    "claim_files": lambda s, k: s.claim_files(BOARD, ["new.go"], "store", key=k),
    "release_claims": lambda s, k: s.release_claims(BOARD, "store", [], key=k),
    "complete_phase": lambda s, k: s.complete_phase(
        BOARD, Completion("store", PhaseState.DONE, [draft("New")]), key=k
    ),
    "archive_board": lambda s, k: s.archive_board(BOARD, 3, key=k),
}
"""One call of each method that writes, with a key; each changes a board that `fill` has filled."""

REFUSED = {
    StateMismatch: lambda s, k: s.set_phase_state(BOARD, running_if_queued, key=k),
    FileAlreadyClaimed: lambda s, k: s.claim_files(BOARD, ["board.go", "b.go"], "p", key=k),
    SessionExpired: lambda s, k: s.claim_file(BOARD, "c.go", "p", "no session", key=k),
    RevisionMismatch: lambda s, k: s.archive_board(BOARD, 1, key=k),
    BoardReplaced: lambda s, k: s.archive_board(BOARD, 3, "another board", key=k),
}
"""A call that is refused on a board that `fill` has filled, for each final error."""

each_refusal = pytest.mark.parametrize(
    ("error", "call"), REFUSED.items(), ids=[error.__name__ for error in REFUSED]
)


class RepeatsConformance(Conformance):
    @each(WRITES)
    async def test_a_repeated_change_is_answered_as_before_and_not_done_again(self, store, call):
        await fill(store)
        first = await call(store, KEY)
        await store.claim_file(BOARD, "later.go", "store")
        before = await contents(store)
        assert await call(store, KEY) == first
        assert await contents(store) == before

    @each(WRITES)
    async def test_the_next_server_answers_a_repeated_call_as_before(self, store, reopen, call):
        await fill(store)
        first = await call(store, KEY)
        assert await call(await reopen(), KEY) == first

    async def test_a_repeated_release_that_released_nothing_releases_no_later_claim(
        self, store, reopen
    ):
        await fill(store)
        first = await store.release_claims(BOARD, "p", [], key=KEY)
        assert first.value == 0
        await store.claim_file(BOARD, "p.go", "p")
        assert await store.release_claims(BOARD, "p", [], key=KEY) == first
        store = await reopen()
        assert await store.release_claims(BOARD, "p", [], key=KEY) == first
        assert await store.get_file_owner(BOARD, "p.go") == "p"

    async def test_a_repeated_publish_of_an_unchanged_contract_replaces_no_newer_one(self, store):
        await store.publish_contract(BOARD, draft("T", signature="old"))
        first = await store.publish_contract(BOARD, draft("T", signature="old"), key=KEY)
        newer = await store.publish_contract(BOARD, draft("T", signature="new"))
        assert newer.revision == first.revision + 1
        again = await store.publish_contract(BOARD, draft("T", signature="old"), key=KEY)
        assert again == first
        assert await revision_of(store) == newer.revision

    @each_refusal
    async def test_a_refused_call_that_comes_again_is_refused_again(
        self, store, reopen, error, call
    ):
        await fill(store)
        with pytest.raises(error) as first:
            await call(store, KEY)
        # Without the key it would now succeed.
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.QUEUED))
        await store.release_claims(BOARD, "store", [])
        before = await contents(store)
        for _ in range(2):
            with pytest.raises(error) as again:
                await call(store, KEY)
            assert str(again.value) == str(first.value)
            assert vars(again.value) == vars(first.value)
            assert await contents(store) == before
            store = await reopen()

    @each_refusal
    async def test_without_a_key_a_refused_call_is_evaluated_again(self, store, error, call):
        await fill(store)
        with pytest.raises(error):
            await call(store, None)
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.QUEUED))
        await store.release_claims(BOARD, "store", [])
        if error in {StateMismatch, FileAlreadyClaimed}:
            await call(store, None)

    async def test_calls_of_one_key_that_come_together_are_one(self, store):
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.QUEUED))
        calls = [store.set_phase_state(BOARD, running_if_queued, key=KEY) for _ in range(5)]
        first, *others = await asyncio.gather(*calls)
        assert others == [first] * 4
        assert await revision_of(store) == 2

    async def test_another_key_is_another_call(self, store):
        await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.QUEUED))
        await store.set_phase_state(BOARD, running_if_queued, key=KEY)
        with pytest.raises(StateMismatch):
            await store.set_phase_state(BOARD, running_if_queued, key=key_of("twice"))

    async def test_an_idempotency_key_of_one_board_is_unknown_on_another(self, store):
        await store.open_board("other")
        await store.claim_file(BOARD, "a.go", "p", key=KEY)
        claim, revision = await store.claim_file("other", "a.go", "q", key=KEY)
        assert (claim.owner, revision) == ("q", 1)

    @pytest.mark.parametrize(
        "other",
        [key_of("once", "Other"), key_of("once", payload=b"other")],
        ids=["method", "payload"],
    )
    async def test_the_key_of_another_call_is_refused_and_changes_nothing(
        self, store, reopen, other
    ):
        first = await store.claim_file(BOARD, "a.go", "p", key=KEY)
        for _ in range(2):
            with pytest.raises(InvalidArgument) as refused:
                await store.claim_file(BOARD, "b.go", "p", key=other)
            assert [v.field for v in refused.value.violations] == ["board-request-id"]
            assert await revision_of(store) == 1
            assert await store.claim_file(BOARD, "a.go", "p", key=KEY) == first
            store = await reopen()

    async def test_a_repeated_call_opens_one_session(self, store):
        minute = timedelta(minutes=1)
        first, made = await store.open_session(BOARD, "w", minute, OnExpiry.FAIL, key=KEY)
        again, revision = await store.open_session(BOARD, "w", minute, OnExpiry.FAIL, key=KEY)
        assert (again.session_id, revision) == (first.session_id, made)

    async def test_repeating_the_call_that_closed_a_session_succeeds(self, store):
        session, _ = await store.open_session(BOARD, "w", timedelta(minutes=1), OnExpiry.FAIL)
        first = await store.close_session(BOARD, session.session_id, key=KEY)
        assert await store.close_session(BOARD, session.session_id, key=KEY) == first
        with pytest.raises(SessionExpired):
            await store.close_session(BOARD, session.session_id, key=key_of("twice"))
