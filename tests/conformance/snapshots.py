"""get_snapshot: the whole board at one revision."""

import asyncio
from datetime import timedelta

from board_server.model import ContractFilter, OnExpiry, PhaseChange, PhaseState
from board_server.wire.responses import encoded_snapshot
from tests.conformance.backend import BOARD, Conformance, contents, draft, items


class SnapshotsConformance(Conformance):
    async def test_a_snapshot_of_an_empty_board_is_empty(self, store):
        info = await store.open_board(BOARD)
        snapshot = await store.get_snapshot(BOARD)
        assert (snapshot.board_id, snapshot.revision) == (info.board_id, 0)
        held = (snapshot.phases, snapshot.contracts, snapshot.claims, snapshot.sessions)
        assert held == ([], [], [], [])

    async def test_a_snapshot_equals_the_lists_of_its_revision(self, store, clock):
        for name in ("z", "a", "ä"):
            clock.step = timedelta(0)  # posted at the same time: ordered by their IDs
            await store.set_phase_state(BOARD, PhaseChange(name, PhaseState.QUEUED))
            await store.claim_file(BOARD, f"{name}.go", name)
            await store.publish_contract(BOARD, draft(name))
        snapshot = await store.get_snapshot(BOARD)
        lists = (snapshot.revision, snapshot.phases, snapshot.contracts, snapshot.claims)
        assert lists == await contents(store)

    async def test_a_snapshot_has_the_sessions_and_what_is_bound_to_them(self, store):
        opened = [
            (await store.open_session(BOARD, f"w{n}", timedelta(minutes=1), OnExpiry.FAIL)).value
            for n in range(5)
        ]
        bound = opened[0].session_id
        change = PhaseChange("p", PhaseState.RUNNING, session_id=bound)
        await store.set_phase_state(BOARD, change)
        await store.claim_file(BOARD, "a.go", "p", bound)
        snapshot = await store.get_snapshot(BOARD)
        ids = [session.session_id for session in snapshot.sessions]
        assert ids == sorted(session.session_id for session in opened)
        assert {session.worker for session in snapshot.sessions} == {f"w{n}" for n in range(5)}
        assert [phase.session_id for phase in snapshot.phases] == [bound]
        assert [claim.session_id for claim in snapshot.claims] == [bound]

    async def test_a_snapshot_larger_than_any_page_is_whole(self, store):
        large = [draft(f"{n}", signature="x" * 2**20) for n in range(5)]
        await store.publish_contracts(BOARD, large)
        await store.claim_files(BOARD, [f"{n:05}.go" for n in range(10_000)], "p")
        await store.claim_files(BOARD, [f"{n:05}.md" for n in range(10_000)], "p")
        snapshot = await store.get_snapshot(BOARD)
        assert (len(snapshot.contracts), len(snapshot.claims)) == (5, 20_000)
        read = await items(lambda page: store.list_contracts(BOARD, ContractFilter(), page))
        assert snapshot.contracts == read

    async def test_the_size_of_a_snapshot_is_known_before_it_is_made(self, store):
        empty = await store.snapshot_size(BOARD)
        session, _ = await store.open_session(BOARD, "ä" * 500, timedelta(days=1), OnExpiry.REQUEUE)
        bound = session.session_id
        await store.publish_contracts(
            BOARD, [draft(f"{n}", signature="ä" * 2**19) for n in range(3)]
        )
        await store.publish_contracts(BOARD, [draft(f"T{n}") for n in range(1_000)])
        await store.claim_files(BOARD, [f"ä{n}.go" for n in range(1_000)], "p", bound)
        for number in range(10):
            phase = PhaseChange(f"ä{number}" * 50, PhaseState.RUNNING, "w", session_id=bound)
            await store.set_phase_state(BOARD, phase)
        made = sum(map(len, encoded_snapshot(await store.get_snapshot(BOARD))))
        assert empty < 1_000
        assert made <= await store.snapshot_size(BOARD) < 1.1 * made

    async def test_a_snapshot_is_of_one_revision_however_much_is_written(self, store):
        """The writers keep as many claims as contracts at every second revision."""
        writing = True

        async def write():
            nonlocal writing
            for number in range(60):
                await store.claim_file(BOARD, f"{number}.go", "p")
                await store.publish_contract(BOARD, draft(f"{number}"))
            writing = False

        async def read():
            seen = set()
            while writing:
                snapshot = await store.get_snapshot(BOARD)
                assert len(snapshot.claims) + len(snapshot.contracts) == snapshot.revision
                assert len(snapshot.claims) == (snapshot.revision + 1) // 2
                seen.add(snapshot.revision)
            return len(seen)

        _, seen = await asyncio.gather(write(), read())
        assert seen > 1, "the reader never met the writer"
