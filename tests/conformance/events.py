"""Events: every change belongs to one revision, is delivered to followers, and is kept."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from board_server.errors import BoardError, FileAlreadyClaimed, ShuttingDown, StateMismatch
from board_server.model import Cause, Change, Commit, PhaseChange, PhaseState
from board_server.store import Store
from tests.conformance.backend import (
    BOARD,
    READS,
    WRITES,
    Conformance,
    draft,
    each,
    fill,
    revision_of,
)

PATIENCE = 20
"""Seconds that a test waits for an event at most."""


class Listener:
    """A follower that keeps all commits."""

    needed = True

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self.error: BoardError | None = None
        self._told = asyncio.Event()

    def committed(self, commit: Commit) -> None:
        self.commits.append(commit)
        self._told.set()

    def ended(self, error: BoardError) -> None:
        self.error = error
        self._told.set()

    @property
    def revisions(self) -> list[int]:
        return [commit.revision for commit in self.commits]

    async def until(self, arrived: Callable[[], Any]) -> None:
        """Return when the condition holds; it is checked after each commit."""
        async with asyncio.timeout(PATIENCE):
            while not arrived():
                self._told.clear()
                await self._told.wait()

    async def change(self, change: Change) -> Commit:
        """Return the first commit with such a change, when it is delivered."""
        found: list[Commit] = []

        def arrived() -> bool:
            found.extend(c for c in self.commits if change in changes(c))
            return bool(found)

        await self.until(arrived)
        return found[0]


def changes(commit: Commit) -> list[Change]:
    return [event.change for event in commit.events]


async def listening(store: Store, board: str = BOARD) -> Listener:
    listener = Listener()
    await store.follow(board, listener)
    return listener


async def history(store: Store, after: int = 0, board: str = BOARD) -> list[Commit]:
    """Read all events after a revision, in as many reads as it takes."""
    upto = await revision_of(store, board)
    commits: list[Commit] = []
    while some := await store.list_events(board, commits[-1].revision if commits else after, upto):
        commits += some
    return commits


class EventsConformance(Conformance):
    @each(WRITES)
    async def test_a_change_is_delivered_before_its_call_returns(self, store, call):
        await fill(store)
        listener = await listening(store)
        revision = (await call(store, BOARD)).revision
        assert listener.revisions == [revision]
        assert listener.commits[0].events

    @each(READS)
    async def test_reading_is_no_event(self, store, call):
        await fill(store)
        listener = await listening(store)
        await call(store, BOARD)
        assert listener.commits == []

    async def test_a_call_that_changes_nothing_makes_no_event(self, store):
        await fill(store)
        listener = await listening(store)
        before = await history(store)
        await store.publish_contracts(BOARD, [draft("Open"), draft("Close")])
        await store.publish_contract(BOARD, draft("Open"))
        await store.claim_file(BOARD, "board.go", "store")
        await store.release_claims(BOARD, "nobody", [])
        await store.publish_contracts(BOARD, [])
        await store.claim_files(BOARD, [], "store")
        assert listener.commits == []
        assert await history(store) == before

    async def test_a_refused_call_is_no_event(self, store):
        await fill(store)
        listener = await listening(store)
        with pytest.raises(FileAlreadyClaimed):
            await store.claim_files(BOARD, ["free.go", "board.go"], "another")
        with pytest.raises(StateMismatch):
            await store.set_phase_state(
                BOARD, PhaseChange("store", PhaseState.DONE, expected_state=PhaseState.QUEUED)
            )
        assert listener.commits == []

    async def test_an_event_has_the_phase_after_the_change(self, store):
        listener = await listening(store)
        phase, _ = await store.set_phase_state(BOARD, PhaseChange("p", PhaseState.RUNNING, "w"))
        (event,) = listener.commits[0].events
        assert (event.change, event.cause, event.record) == (Change.PHASE, Cause.CALL, phase)

    async def test_only_the_changed_contracts_of_a_batch_are_delivered_in_one_commit(self, store):
        await store.publish_contracts(BOARD, [draft("Same"), draft("Old")])
        listener = await listening(store)
        batch = [draft("New"), draft("Same"), draft("Old", signature="new"), draft("New")]
        await store.publish_contracts(BOARD, batch)
        (commit,) = listener.commits
        assert changes(commit) == [Change.CONTRACT] * 2
        result = {event.record.name: event.record.signature for event in commit.events}
        assert result == {"New": "func()", "Old": "new"}

    async def test_an_event_has_a_released_claim_as_it_was_before(self, store):
        claim, _ = await store.claim_file(BOARD, "a.go", "p")
        listener = await listening(store)
        await store.release_claims(BOARD, "p", [])
        (event,) = listener.commits[0].events
        assert (event.change, event.record) == (Change.RELEASED, claim)

    async def test_a_commit_has_the_time_of_its_call(self, store, clock):
        listener = await listening(store)
        claims, _ = await store.claim_files(BOARD, ["a.go", "b.go"], "p")
        assert {claim.claimed_at for claim in claims} == {listener.commits[0].time} == {clock.now}

    async def test_a_follower_receives_the_events_after_its_revision(self, store):
        await fill(store)
        listener = Listener()
        info = await store.follow(BOARD, listener)
        assert info == await store.open_board(BOARD)
        await store.claim_file(BOARD, "new.go", "p")
        assert listener.revisions == [info.revision + 1]

    async def test_all_followers_receive_the_same_events(self, store):
        first = await listening(store)
        await fill(store)
        second = await listening(store)
        await store.claim_file(BOARD, "new.go", "p")
        assert first.commits[-1:] == second.commits
        assert first.revisions == [1, 2, 3, 4]

    async def test_a_delivered_event_can_be_read_at_once(self, store):
        class Reader(Listener):
            def __init__(self):
                super().__init__()
                self.reads = []

            def committed(self, commit):
                super().committed(commit)
                path = commit.events[0].record.filepath
                self.reads.append(asyncio.ensure_future(store.get_file_owner(BOARD, path)))

        reader = Reader()
        await store.follow(BOARD, reader)
        await asyncio.gather(*(store.claim_file(BOARD, f"{n}.go", "p") for n in range(100)))
        assert await asyncio.gather(*reader.reads) == ["p"] * 100

    async def test_commits_of_many_callers_are_delivered_in_order_each_once(self, store):
        listener = await listening(store)

        async def work(task: int) -> None:
            phase = f"p{task}"
            await store.set_phase_state(BOARD, PhaseChange(phase, PhaseState.RUNNING))
            await store.claim_files(BOARD, [f"{task}.go", f"{task}.md"], phase)
            await store.publish_contracts(BOARD, [draft("A", phase), draft("B", phase)])
            await store.release_claims(BOARD, phase, [])

        await asyncio.gather(*map(work, range(16)))
        assert listener.revisions == list(range(1, 4 * 16 + 1))
        assert all(len(commit.events) in {1, 2} for commit in listener.commits)

    async def test_the_kept_events_are_those_that_were_delivered(self, store):
        listener = await listening(store)
        await fill(store)
        await store.release_claims(BOARD, "store", [])
        assert await history(store) == listener.commits

    async def test_the_history_survives_a_reopening(self, store, reopen):
        await fill(store)
        before = await history(store)
        assert [commit.revision for commit in before] == [1, 2, 3]
        assert await history(await reopen()) == before

    async def test_a_history_has_the_requested_revisions(self, store):
        for number in range(6):
            await store.claim_file(BOARD, f"{number}.go", "p")
        for after, upto, wanted in [(0, 6, 6), (2, 4, 2), (3, 3, 0), (5, 6, 1), (6, 6, 0)]:
            commits = await store.list_events(BOARD, after, upto)
            assert [commit.revision for commit in commits] == list(range(after + 1, upto + 1))
            assert len(commits) == wanted

    async def test_a_large_history_is_sent_in_messages_of_whole_commits(self, store):
        for number in range(8):
            pair = [draft(f"{number}{half}", signature="x" * 2**20) for half in "ab"]
            await store.publish_contracts(BOARD, pair)
        some = await store.list_events(BOARD, 0, 8)
        assert 1 <= len(some) < 8
        commits = await history(store)
        assert [commit.revision for commit in commits] == list(range(1, 9))
        assert all(len(commit.events) == 2 for commit in commits)

    async def test_a_single_commit_larger_than_a_part_comes_whole(self, store):
        batch = [draft(f"{number}", signature="x" * 2**20) for number in range(6)]
        await store.publish_contracts(BOARD, batch)
        (commit,) = await store.list_events(BOARD, 0, 1)
        assert len(commit.events) == 6

    async def test_the_events_of_two_boards_never_mix(self, store):
        await store.open_board("other")
        listener = await listening(store)
        await fill(store, "other")
        assert listener.commits == []
        assert await history(store) == []
        assert len(await history(store, board="other")) == 3

    async def test_followers_are_ended_after_the_last_commit(self, store):
        listener = await listening(store)
        claims = [
            asyncio.create_task(store.claim_file(BOARD, f"{number}.go", "p"))
            for number in range(20)
        ]
        await asyncio.sleep(0)  # let each begin
        await store.close()
        done = await asyncio.gather(*claims, return_exceptions=True)
        revisions = [out.revision for out in done if not isinstance(out, BaseException)]
        assert listener.revisions == revisions
        assert isinstance(listener.error, ShuttingDown)
