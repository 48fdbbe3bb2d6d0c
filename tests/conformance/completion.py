"""complete_phase: contracts, state and claims in one transaction."""

import asyncio

import pytest

from board_server.errors import SessionExpired
from board_server.model import Change, Completion, ContractFilter, PhaseChange, PhaseState
from tests.conformance.backend import ALL, BOARD, Conformance, contents, draft, revision_of
from tests.conformance.events import changes, listening


async def at_work(store, phase="p", board=BOARD):
    """Set a phase running that has two files."""
    await store.set_phase_state(board, PhaseChange(phase, PhaseState.RUNNING, "w1"))
    await store.claim_files(board, [f"{phase}/a.go", f"{phase}/b.go"], phase)


class CompletionConformance(Conformance):
    @pytest.mark.parametrize("state", [PhaseState.DONE, PhaseState.FAILED])
    async def test_completing_publishes_sets_the_state_and_releases_the_claims(self, store, state):
        await at_work(store)
        kept, before = await store.claim_file(BOARD, "kept.go", "q")
        drafts = [draft("A", "p"), draft("B", "p")]
        done, revision = await store.complete_phase(BOARD, Completion("p", state, drafts))
        assert (done.published, done.released, revision) == (2, 2, before + 1)
        assert (done.phase.state, done.phase.worker) == (state, "w1")
        assert await store.get_phase_state(BOARD, "p") == done.phase
        page = await store.list_contracts(BOARD, ContractFilter(producer="p"), ALL)
        assert [contract.name for contract in page.items] == ["A", "B"]
        assert (await store.list_claims(BOARD, None, ALL)).items == [kept]

    async def test_completing_is_one_commit_with_all_its_events(self, store, clock):
        await at_work(store)
        listener = await listening(store)
        clock.step *= 1000
        completion = Completion("p", PhaseState.DONE, [draft("A", "p"), draft("B", "p")])
        done, revision = await store.complete_phase(BOARD, completion)
        (commit,) = listener.commits
        assert (commit.revision, commit.time) == (revision, done.phase.updated_at)
        assert sorted(changes(commit)) == sorted(
            [Change.CONTRACT, Change.CONTRACT, Change.PHASE, Change.RELEASED, Change.RELEASED]
        )
        page = await store.list_contracts(BOARD, ContractFilter(), ALL)
        assert {contract.created_at for contract in page.items} == {commit.time}

    async def test_a_phase_without_contracts_or_claims_completes_too(self, store):
        done, revision = await store.complete_phase(BOARD, Completion("p", PhaseState.DONE, []))
        assert (done.phase.phase_id, done.published, done.released, revision) == ("p", 0, 0, 1)

    async def test_completing_again_leaves_the_same_board_and_makes_a_revision(self, store):
        await at_work(store)
        completion = Completion("p", PhaseState.DONE, [draft("A", "p")])
        await store.complete_phase(BOARD, completion)
        before = await contents(store)
        again, revision = await store.complete_phase(BOARD, completion)
        assert (again.published, again.released, revision) == (1, 0, before[0] + 1)
        _, _, contracts, claims = await contents(store)
        assert (contracts, claims) == before[2:]

    async def test_a_refused_completion_changes_nothing(self, store):
        await at_work(store)
        before = await contents(store)
        completion = Completion("p", PhaseState.DONE, [draft("A", "p")], "no such session")
        with pytest.raises(SessionExpired):
            await store.complete_phase(BOARD, completion)
        assert await contents(store) == before

    async def test_no_reader_sees_half_a_completion(self, store):
        """A phase runs exactly as long as it holds its files, and has no contracts until then."""
        phases = [f"p{number}" for number in range(20)]
        for phase in phases:
            await at_work(store, phase)
        began = await revision_of(store)

        async def complete(phase):
            drafts = [draft(f"{phase}.{number}", phase) for number in range(10)]
            await store.complete_phase(BOARD, Completion(phase, PhaseState.DONE, drafts))

        async def read():
            seen = set()
            while len(seen) < 2 or max(seen) < began + len(phases):
                snapshot = await store.get_snapshot(BOARD)
                running = {p.phase_id for p in snapshot.phases if p.state == PhaseState.RUNNING}
                done = {p.phase_id for p in snapshot.phases if p.state == PhaseState.DONE}
                assert {claim.owner for claim in snapshot.claims} == running
                assert {contract.producer for contract in snapshot.contracts} == done
                assert len(snapshot.contracts) == 10 * len(done)
                assert len(done) == snapshot.revision - began
                seen.add(snapshot.revision)

        async def complete_all():
            for phase in phases:
                await complete(phase)

        await asyncio.gather(read(), complete_all())
