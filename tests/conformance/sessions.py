"""Sessions: what is bound to them, how they end, and what is refused afterwards."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from board_server.errors import FileAlreadyClaimed, SessionExpired, ShuttingDown
from board_server.model import Cause, Change, Completion, OnExpiry, PhaseChange, PhaseState
from tests.conformance.backend import (
    ALL,
    BOARD,
    Conformance,
    contents,
    draft,
    each,
    fill,
    items,
    pages,
    revision_of,
)
from tests.conformance.events import Listener, changes, history, listening

LONG = timedelta(hours=1)
SHORT = timedelta(milliseconds=50)
BUSY = timedelta(milliseconds=500)  # for some writes, even on a slow disk


async def opened(store, ttl=LONG, on_expiry=OnExpiry.FAIL, board=BOARD, worker="w"):
    """Open a session; return its ID."""
    return (await store.open_session(board, worker, ttl, on_expiry)).value.session_id


def running(phase, session_id="", worker="w1"):
    return PhaseChange(phase, PhaseState.RUNNING, worker, session_id=session_id)


async def at_work(store, session_id):
    """Set phase p running in the session with a file, and phase q without a session."""
    await store.set_phase_state(BOARD, running("p", session_id))
    await store.claim_file(BOARD, "p.go", "p", session_id)
    await store.set_phase_state(BOARD, running("q"))
    await store.claim_file(BOARD, "q.go", "q")


async def state_of(store, phase):
    return (await store.get_phase_state(BOARD, phase)).state


IN_SESSION = {
    "set_phase_state": lambda s, b, i: s.set_phase_state(b, running("store", i, "other")),
    "set_phase_state to done": lambda s, b, i: s.set_phase_state(
        b, PhaseChange("store", PhaseState.DONE, session_id=i)
    ),
    "set_phase_state of none": lambda s, b, i: s.set_phase_state(b, running("new", i)),
    "publish_contract": lambda s, b, i: s.publish_contract(b, draft("New"), i),
    "publish_contract unchanged": lambda s, b, i: s.publish_contract(b, draft("Open"), i),
    "publish_contracts": lambda s, b, i: s.publish_contracts(b, [draft("New"), draft("N")], i),
    "publish_contracts of none": lambda s, b, i: s.publish_contracts(b, [], i),
    "claim_file": lambda s, b, i: s.claim_file(b, "new.go", "store", i),
    "claim_file of its own": lambda s, b, i: s.claim_file(b, "board.go", "store", i),
    "claim_files": lambda s, b, i: s.claim_files(b, ["a.go", "b.go"], "store", i),
    "claim_files of none": lambda s, b, i: s.claim_files(b, [], "store", i),
    "complete_phase": lambda s, b, i: s.complete_phase(
        b, Completion("store", PhaseState.DONE, [draft("New")], i)
    ),
    "renew_session": lambda s, b, i: s.renew_session(b, i),
    "close_session": lambda s, b, i: s.close_session(b, i),
}
"""Every call that names a session."""


class SessionsConformance(Conformance):
    @pytest.mark.parametrize("on_expiry", OnExpiry)
    async def test_a_session_is_opened_as_asked(self, store, on_expiry):
        before = datetime.now(UTC)
        session, revision = await store.open_session(BOARD, "w1", LONG, on_expiry)
        assert (session.worker, session.ttl, session.on_expiry) == ("w1", LONG, on_expiry)
        assert before + LONG <= session.expires_at <= datetime.now(UTC) + LONG
        assert revision == await revision_of(store) == 1

    async def test_opening_a_session_is_an_event(self, store):
        listener = await listening(store)
        session, revision = await store.open_session(BOARD, "w1", LONG, OnExpiry.REQUEUE)
        (commit,) = listener.commits
        (event,) = commit.events
        assert (commit.revision, event.change, event.cause) == (
            revision,
            Change.SESSION_OPENED,
            Cause.CALL,
        )
        result = event.record
        assert (result.session_id, result.worker, result.ttl, result.on_expiry) == (
            session.session_id,
            "w1",
            LONG,
            OnExpiry.REQUEUE,
        )
        assert result.expires_at == commit.time + LONG

    async def test_a_worker_may_have_many_sessions_each_with_an_id_of_its_own(self, store):
        ids = [await opened(store) for _ in range(20)]
        assert len(set(ids)) == 20

    async def test_sessions_are_listed_in_the_byte_order_of_their_ids_a_page_at_a_time(self, store):
        ids = sorted([await opened(store, worker=f"w{n}") for n in range(7)])
        for size in (1, 3, 7, 8):
            read = await pages(lambda page: store.list_sessions(BOARD, page), size)
            assert [session.session_id for page in read for session in page.items] == ids
            assert all(len(page.items) <= size and page.revision == 7 for page in read)

    async def test_a_renewed_session_has_its_full_ttl_again_and_makes_no_revision(self, store):
        session, revision = await store.open_session(BOARD, "w", LONG, OnExpiry.REQUEUE)
        listener = await listening(store)
        before = datetime.now(UTC)
        renewed, at = await store.renew_session(BOARD, session.session_id)
        assert before + LONG <= renewed.expires_at <= datetime.now(UTC) + LONG
        assert renewed.expires_at >= session.expires_at
        assert (renewed.session_id, renewed.worker, renewed.on_expiry) == (
            session.session_id,
            session.worker,
            session.on_expiry,
        )
        assert (at, listener.commits) == (revision, [])

    async def test_a_list_has_the_current_expiry_of_each_session(self, store):
        session_id = await opened(store)
        renewed, _ = await store.renew_session(BOARD, session_id)
        (listed,) = await items(lambda page: store.list_sessions(BOARD, page))
        assert abs(listed.expires_at - renewed.expires_at) < timedelta(seconds=10)

    @pytest.mark.parametrize(
        ("on_expiry", "state", "worker"),
        [(OnExpiry.FAIL, PhaseState.FAILED, "w1"), (OnExpiry.REQUEUE, PhaseState.QUEUED, "")],
    )
    async def test_closing_a_session_frees_its_files_and_ends_its_running_phases(
        self, store, on_expiry, state, worker
    ):
        session_id = await opened(store, on_expiry=on_expiry)
        await at_work(store, session_id)
        before = await revision_of(store)
        assert await store.close_session(BOARD, session_id) == (1, before + 1)
        phase = await store.get_phase_state(BOARD, "p")
        assert (phase.state, phase.worker, phase.session_id) == (state, worker, "")
        assert await store.get_file_owner(BOARD, "p.go") == ""
        assert (await store.list_sessions(BOARD, ALL)).items == []

    @pytest.mark.parametrize(
        ("on_expiry", "state", "worker"),
        [(OnExpiry.FAIL, PhaseState.FAILED, "w1"), (OnExpiry.REQUEUE, PhaseState.QUEUED, "")],
    )
    async def test_a_session_that_is_not_renewed_ends_its_phases_and_releases_its_files(
        self, store, on_expiry, state, worker
    ):
        listener = await listening(store)
        session_id = await opened(store, BUSY, on_expiry)
        await at_work(store, session_id)
        await listener.change(Change.SESSION_ENDED)
        phase = await store.get_phase_state(BOARD, "p")
        assert (phase.state, phase.worker, phase.session_id) == (state, worker, "")
        assert await store.get_file_owner(BOARD, "p.go") == ""
        assert (await store.list_sessions(BOARD, ALL)).items == []

    @pytest.mark.parametrize("cause", [Cause.SESSION_CLOSED, Cause.SESSION_EXPIRED])
    async def test_the_end_of_a_session_is_one_commit_that_says_why(self, store, cause):
        expires = cause is Cause.SESSION_EXPIRED
        listener = await listening(store)
        session_id = await opened(store, BUSY if expires else LONG)
        await at_work(store, session_id)
        if not expires:
            await store.close_session(BOARD, session_id)
        commit = await listener.change(Change.SESSION_ENDED)
        assert sorted(changes(commit)) == [Change.PHASE, Change.RELEASED, Change.SESSION_ENDED]
        assert {event.cause for event in commit.events} == {cause}
        records = {event.change: event.record for event in commit.events}
        assert records[Change.PHASE] == await store.get_phase_state(BOARD, "p")
        released = records[Change.RELEASED]
        assert (released.filepath, released.owner, released.session_id) == ("p.go", "p", session_id)
        assert records[Change.SESSION_ENDED].session_id == session_id
        assert await history(store) == listener.commits

    async def test_the_end_of_a_session_without_phases_or_files_is_one_event(self, store):
        listener = await listening(store)
        session_id = await opened(store, SHORT)
        commit = await listener.change(Change.SESSION_ENDED)
        (event,) = commit.events
        assert (event.record.session_id, event.cause) == (session_id, Cause.SESSION_EXPIRED)

    async def test_phases_and_claims_without_a_session_never_expire(self, store):
        session_id = await opened(store)
        await at_work(store, session_id)
        before = await store.get_phase_state(BOARD, "q")
        await store.close_session(BOARD, session_id)
        assert await store.get_phase_state(BOARD, "q") == before
        assert await store.get_file_owner(BOARD, "q.go") == "q"

    @pytest.mark.parametrize(
        "state", [state for state in PhaseState if state not in {"", PhaseState.RUNNING}]
    )
    async def test_only_a_running_phase_is_bound(self, store, state):
        session_id = await opened(store)
        change = PhaseChange("p", state, "w1", session_id=session_id)
        phase, _ = await store.set_phase_state(BOARD, change)
        assert phase.session_id == ""
        await store.close_session(BOARD, session_id)
        assert await store.get_phase_state(BOARD, "p") == phase

    async def test_a_running_phase_has_its_session(self, store):
        session_id = await opened(store)
        phase, _ = await store.set_phase_state(BOARD, running("p", session_id))
        assert phase.session_id == session_id
        assert await store.get_phase_state(BOARD, "p") == phase
        assert (await store.list_phases(BOARD, [], ALL)).items == [phase]

    @pytest.mark.parametrize("state", [PhaseState.DONE, PhaseState.RUNNING, PhaseState.BLOCKED])
    async def test_a_write_without_the_session_unbinds_the_phase(self, store, state):
        session_id = await opened(store)
        await store.set_phase_state(BOARD, running("p", session_id))
        phase, _ = await store.set_phase_state(BOARD, PhaseChange("p", state))
        assert phase.session_id == ""
        await store.close_session(BOARD, session_id)
        assert await store.get_phase_state(BOARD, "p") == phase

    async def test_a_phase_is_bound_to_the_last_session_that_set_it_running(self, store):
        first, second = await opened(store), await opened(store)
        await store.set_phase_state(BOARD, running("p", first))
        phase, _ = await store.set_phase_state(BOARD, running("p", second))
        await store.close_session(BOARD, first)
        assert await store.get_phase_state(BOARD, "p") == phase
        await store.close_session(BOARD, second)
        assert await state_of(store, "p") == PhaseState.FAILED

    async def test_a_claim_has_its_session(self, store):
        session_id = await opened(store)
        claim, _ = await store.claim_file(BOARD, "a.go", "p", session_id)
        assert claim.session_id == session_id
        assert (await store.list_claims(BOARD, None, ALL)).items == [claim]

    async def test_claiming_again_in_another_session_binds_the_claim_to_that(self, store):
        first, second = await opened(store), await opened(store)
        old, before = await store.claim_file(BOARD, "a.go", "p", first)
        listener = await listening(store)
        new, revision = await store.claim_file(BOARD, "a.go", "p", second)
        assert (new.claimed_at, new.session_id) == (old.claimed_at, second)
        assert revision == before + 1
        (event,) = listener.commits[0].events
        assert (event.change, event.record) == (Change.CLAIMED, new)
        assert (await store.close_session(BOARD, first)).value == 0
        assert await store.get_file_owner(BOARD, "a.go") == "p"
        assert (await store.close_session(BOARD, second)).value == 1
        assert await store.get_file_owner(BOARD, "a.go") == ""

    async def test_an_older_claim_without_a_session_is_bound_by_claiming_it_in_one(self, store):
        await store.claim_file(BOARD, "a.go", "p")
        session_id = await opened(store)
        claim, revision = await store.claim_file(BOARD, "a.go", "p", session_id)
        assert (claim.session_id, revision) == (session_id, 3)
        assert await store.claim_file(BOARD, "a.go", "p", session_id) == (claim, revision)
        await store.close_session(BOARD, session_id)
        assert await store.get_file_owner(BOARD, "a.go") == ""

    async def test_claiming_again_without_a_session_keeps_the_claim_bound(self, store):
        session_id = await opened(store)
        held = await store.claim_file(BOARD, "a.go", "p", session_id)
        assert await store.claim_file(BOARD, "a.go", "p") == held

    async def test_a_refused_claim_binds_nothing(self, store):
        session_id = await opened(store)
        await store.claim_file(BOARD, "mine.go", "p")
        await store.claim_file(BOARD, "yours.go", "q")
        before = await contents(store)
        with pytest.raises(FileAlreadyClaimed):
            await store.claim_files(BOARD, ["mine.go", "yours.go"], "p", session_id)
        assert await contents(store) == before
        assert (await store.close_session(BOARD, session_id)).value == 0

    async def test_releasing_a_bound_claim_ends_the_bond(self, store):
        session_id = await opened(store)
        await store.claim_file(BOARD, "a.go", "p", session_id)
        await store.release_claims(BOARD, "p", [])
        kept, _ = await store.claim_file(BOARD, "a.go", "p")
        assert kept.session_id == ""
        assert (await store.close_session(BOARD, session_id)).value == 0
        assert await store.get_file_owner(BOARD, "a.go") == "p"

    async def test_the_end_of_a_session_does_not_change_its_completed_phase(self, store):
        session_id = await opened(store)
        await at_work(store, session_id)
        completion = Completion("p", PhaseState.DONE, [draft("A", "p")], session_id)
        done, _ = await store.complete_phase(BOARD, completion)
        assert (done.phase.session_id, done.released) == ("", 1)
        assert (await store.close_session(BOARD, session_id)).value == 0
        assert await state_of(store, "p") == PhaseState.DONE

    @each(IN_SESSION)
    async def test_a_call_in_a_session_that_has_ended_is_refused_and_changes_nothing(
        self, store, call
    ):
        await fill(store)
        await store.open_board("other")
        of_another_board = await opened(store, board="other")
        closed = await opened(store)
        await store.close_session(BOARD, closed)
        listener = await listening(store)
        expired = await opened(store, timedelta(milliseconds=1))
        await listener.change(Change.SESSION_ENDED)
        before = await contents(store)
        for session_id in (of_another_board, closed, expired, "never"):
            with pytest.raises(SessionExpired) as caught:
                await call(store, BOARD, session_id)
            assert caught.value.session_id == session_id
        assert await contents(store) == before
        assert (await store.renew_session("other", of_another_board)).revision == 1

    async def test_a_session_never_ends_early(self, store):
        loop = asyncio.get_running_loop()
        listener = await listening(store)
        before = loop.time()
        await opened(store, SHORT)
        await listener.change(Change.SESSION_ENDED)
        assert loop.time() - before >= SHORT.total_seconds()

    async def test_a_session_lives_as_long_as_it_is_renewed_and_then_for_its_ttl(self, store):
        loop = asyncio.get_running_loop()
        listener = await listening(store)
        session_id = await opened(store, SHORT)
        enough = loop.time() + 12 * SHORT.total_seconds()
        while loop.time() < enough:
            await asyncio.sleep(0)  # let the timers run
            before = loop.time()
            await store.renew_session(BOARD, session_id)
        assert listener.revisions == [1]
        await listener.change(Change.SESSION_ENDED)
        assert loop.time() - before >= SHORT.total_seconds()

    async def test_many_sessions_that_end_at_once_each_end_in_a_commit_of_their_own(self, store):
        listener = await listening(store)
        ids = await asyncio.gather(*(opened(store, SHORT) for _ in range(30)))
        await listener.until(lambda: len(listener.commits) >= 60)
        events = [event for commit in listener.commits for event in commit.events]
        ended = [e.record.session_id for e in events if e.change is Change.SESSION_ENDED]
        assert sorted(ended) == sorted(ids)
        assert listener.revisions == list(range(1, 61))

    async def test_closing_a_session_that_is_about_to_expire_ends_it_once(self, store):
        listener = await listening(store)
        for _ in range(20):
            session_id = await opened(store, timedelta(milliseconds=1))
            with suppress(SessionExpired):
                await store.close_session(BOARD, session_id)
        await listener.until(lambda: len(listener.commits) >= 40)
        assert await revision_of(store) == 40

    async def test_a_session_survives_a_reopening_with_its_full_ttl_again(self, store, reopen):
        loop = asyncio.get_running_loop()
        ttl = BUSY
        session_id = await opened(store, ttl)
        await at_work(store, session_id)
        store = await reopen()
        before = loop.time()
        listener = await listening(store)
        (listed,) = (await store.list_sessions(BOARD, ALL)).items
        assert listed.session_id == session_id
        assert await state_of(store, "p") == PhaseState.RUNNING
        commit = await listener.change(Change.SESSION_ENDED)
        assert loop.time() - before >= ttl.total_seconds()
        assert {event.cause for event in commit.events} == {Cause.SESSION_EXPIRED}
        assert await state_of(store, "p") == PhaseState.FAILED

    async def test_a_session_can_be_renewed_after_a_reopening(self, store, reopen):
        session_id = await opened(store)
        store = await reopen()
        assert (await store.renew_session(BOARD, session_id)).value.session_id == session_id
        await store.claim_file(BOARD, "a.go", "p", session_id)

    async def test_a_session_that_ended_stays_ended_after_a_reopening(self, store, reopen):
        session_id = await opened(store)
        await store.close_session(BOARD, session_id)
        store = await reopen()
        assert (await store.list_sessions(BOARD, ALL)).items == []
        with pytest.raises(SessionExpired):
            await store.renew_session(BOARD, session_id)

    async def test_a_session_whose_opening_was_cancelled_expires(self, store):
        """Its ID is unknown, so no client can renew it."""
        opening = asyncio.create_task(opened(store, SHORT))

        class CancelsOpening(Listener):
            def committed(self, commit):
                super().committed(commit)
                opening.cancel()  # before it is answered

        listener = CancelsOpening()
        await store.follow(BOARD, listener)
        with pytest.raises(asyncio.CancelledError):
            await opening
        await listener.change(Change.SESSION_ENDED)
        assert (await store.list_sessions(BOARD, ALL)).items == []

    async def test_an_open_session_does_not_keep_the_store_from_closing(self, store):
        session_id = await opened(store)
        await store.close()
        with pytest.raises(ShuttingDown):
            await store.renew_session(BOARD, session_id)
