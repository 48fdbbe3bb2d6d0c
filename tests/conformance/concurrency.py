"""Concurrent callers: no update is lost, and no reader sees a part of a write."""

import asyncio
from collections import Counter

from board_server.errors import FileAlreadyClaimed, StateMismatch
from board_server.model import ContractFilter, PhaseChange, PhaseState
from tests.conformance.backend import (
    ALL,
    BOARD,
    WRITES,
    Conformance,
    contents,
    draft,
    fill,
    revision_of,
)

TASKS = 32


class ConcurrencyConformance(Conformance):
    async def test_if_many_claim_a_file_exactly_one_gets_it(self, store):
        files = [f"f{index}.go" for index in range(10)]

        async def claim(owner: str) -> list[str]:
            won = []
            for file in files:
                try:
                    await store.claim_file(BOARD, file, owner)
                except FileAlreadyClaimed as error:
                    winner = error.conflicts[0].owner
                else:
                    winner = owner
                    won.append(file)
                assert await store.get_file_owner(BOARD, file) == winner
            return won

        owners = [f"p{index}" for index in range(TASKS)]
        won = dict(zip(owners, await asyncio.gather(*map(claim, owners)), strict=True))
        assert Counter(file for mine in won.values() for file in mine) == Counter(files)
        for owner, mine in won.items():
            for file in mine:
                assert await store.get_file_owner(BOARD, file) == owner
        assert await revision_of(store) == len(files)

    async def test_compare_and_set_loses_no_update(self, store):
        """The worker's name is a counter, which the state RUNNING locks."""
        await store.set_phase_state(BOARD, PhaseChange("n", PhaseState.QUEUED, "0"))

        async def count_up() -> int:
            refused = 0
            while True:
                try:
                    await store.set_phase_state(
                        BOARD,
                        PhaseChange("n", PhaseState.RUNNING, expected_state=PhaseState.QUEUED),
                    )
                    break
                except StateMismatch:
                    refused += 1
            phase = await store.get_phase_state(BOARD, "n")
            await store.set_phase_state(
                BOARD,
                PhaseChange("n", PhaseState.QUEUED, str(int(phase.worker) + 1), PhaseState.RUNNING),
            )
            return refused

        refused = await asyncio.gather(*(count_up() for _ in range(TASKS)))
        assert (await store.get_phase_state(BOARD, "n")).worker == str(TASKS)
        assert any(refused), "the tasks never met"
        assert await revision_of(store) == 1 + 2 * TASKS

    async def test_each_change_gets_a_revision_of_its_own(self, store):
        async def work(task: int) -> list[int]:
            phase = f"p{task}"
            return [
                (await store.set_phase_state(BOARD, PhaseChange(phase, PhaseState.RUNNING)))[1],
                (await store.claim_file(BOARD, f"{task}.go", phase))[1],
                (await store.publish_contracts(BOARD, [draft("A", phase), draft("B", phase)]))[1],
                (await store.publish_contract(BOARD, draft("A", phase, signature="new")))[1],
                (await store.release_claims(BOARD, phase, []))[1],
            ]

        made = await asyncio.gather(*map(work, range(TASKS)))
        assert all(revisions == sorted(revisions) for revisions in made)
        flat = sorted(revision for revisions in made for revision in revisions)
        assert flat == list(range(1, 5 * TASKS + 1))
        assert await revision_of(store) == 5 * TASKS

    async def test_a_read_after_a_write_sees_it(self, store):
        async def work(phase: str) -> None:
            for state in (PhaseState.QUEUED, PhaseState.RUNNING, PhaseState.DONE):
                phase_set, revision = await store.set_phase_state(BOARD, PhaseChange(phase, state))
                assert await store.get_phase_state(BOARD, phase) == phase_set
                page = await store.list_phases(BOARD, [], ALL)
                assert phase_set in page.items
                assert page.revision >= revision
                assert await revision_of(store) >= revision

        await asyncio.gather(*(work(f"p{index}") for index in range(TASKS)))

    async def test_no_reader_sees_half_a_batch(self, store):
        writing = True

        async def publish() -> None:
            nonlocal writing
            for signature in range(30):
                batch = [draft(f"F{index}", signature=str(signature)) for index in range(50)]
                await store.publish_contracts(BOARD, batch)
            writing = False

        async def watch() -> int:
            seen = set()
            while writing:
                page = await store.list_contracts(BOARD, ContractFilter(), ALL)
                signatures = {contract.signature for contract in page.items}
                assert len(page.items) in {0, 50}
                assert signatures <= {str(page.revision - 1)}
                seen.add(page.revision)
            return len(seen)

        _, seen = await asyncio.gather(publish(), watch())
        assert seen > 1, "the reader never met the writer"

    async def test_a_caller_that_gives_up_leaves_the_board_consistent(self, store):
        await fill(store)
        before = await revision_of(store)
        tasks = [
            asyncio.create_task(store.publish_contracts(BOARD, [draft(f"A{n}"), draft(f"B{n}")]))
            for n in range(TASKS)
        ]
        await asyncio.sleep(0)  # let each begin
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert not any(isinstance(outcome, BaseException) for outcome in outcomes[1::2])
        page = await store.list_contracts(BOARD, ContractFilter(), ALL)
        names = {contract.name for contract in page.items}
        for n in range(TASKS):
            assert (f"A{n}" in names) == (f"B{n}" in names)
            assert n % 2 == 0 or f"A{n}" in names
        pairs = (len(names) - 2) // 2
        assert await revision_of(store) == before + pairs

    async def test_many_that_open_a_board_open_the_same_one(self, store):
        infos = await asyncio.gather(*(store.open_board("new") for _ in range(TASKS)))
        assert len(set(infos)) == 1

    async def test_boards_are_written_side_by_side(self, store):
        boards = [f"b{index}" for index in range(4)]
        for board in boards:
            await store.open_board(board)
            await fill(store, board)
        await asyncio.gather(*(call(store, board) for board in boards for call in WRITES.values()))
        for board in boards:
            revision, phases, contracts, _ = await contents(store, board)
            # Later workers may find nothing to do.
            assert 3 < revision <= 3 + len(WRITES)
            assert {phase.phase_id for phase in phases} == {"store", "new"}
            assert {c.name for c in contracts} == {"Open", "Close", "New", "Newer", "Newest"}
