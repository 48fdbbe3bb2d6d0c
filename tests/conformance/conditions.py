"""find: the records that meet conditions, all at one revision."""

import asyncio

import pytest

from board_server.model import (
    ContractCondition,
    ContractFilter,
    ContractKind,
    ContractStatus,
    FileCondition,
    PhaseChange,
    PhaseCondition,
    PhaseState,
)
from tests.conformance.backend import ALL, BOARD, Conformance, draft, fill, revision_of

DONE_OR_FAILED = frozenset({PhaseState.DONE, PhaseState.FAILED})


def contract(**fields):
    wanted = {"producer": None, "kind": None, "name": None, "package": None} | fields
    return ContractCondition(**wanted)


async def found(store, *conditions):
    return (await store.find(BOARD, conditions)).value


class ConditionsConformance(Conformance):
    async def test_a_phase_meets_its_condition_in_each_of_the_states(self, store):
        condition = PhaseCondition("p", DONE_OR_FAILED)
        assert await found(store, condition) == [None]
        for state in PhaseState:
            if state:
                phase, _ = await store.set_phase_state(BOARD, PhaseChange("p", state))
                assert await found(store, condition) == [phase if state in DONE_OR_FAILED else None]

    async def test_a_file_meets_its_condition_while_it_is_unclaimed(self, store):
        condition = FileCondition("a.go")
        assert await found(store, condition) == [condition]
        await store.claim_file(BOARD, "a.go", "p")
        assert await found(store, condition) == [None]
        await store.release_claims(BOARD, "p", [])
        assert await found(store, condition) == [condition]

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"name": "T"}, "T"),
            ({"name": "t"}, None),
            ({"kind": ContractKind.METHOD}, "M"),
            ({"kind": ContractKind.FILE}, None),
            ({"producer": "q"}, "T"),
            ({"producer": "q", "name": "M"}, "M"),
            ({"producer": "q", "name": "M", "kind": ContractKind.TYPE}, None),
            ({"package": "one"}, "T"),
            ({"package": "one", "producer": "q"}, None),
            ({"package": "three"}, None),
        ],
        ids=str,
    )
    async def test_a_contract_meets_a_condition_if_it_equals_every_field(self, store, fields, name):
        await store.publish_contracts(
            BOARD,
            [
                draft("T", "p", kind=ContractKind.TYPE, package="one"),
                draft("T", "q", kind=ContractKind.TYPE, package="two"),
                draft("M", "q", kind=ContractKind.METHOD, package="two"),
            ],
        )
        (met,) = await found(store, contract(**fields))
        assert (met.name if met else None) == name

    async def test_the_matching_contract_with_the_lowest_id_is_returned(self, store):
        for producer in ("p", "q", "r"):
            await store.publish_contract(BOARD, draft("T", producer))
        first, *_ = (await store.list_contracts(BOARD, ContractFilter(), ALL)).items
        assert await found(store, contract(name="T")) == [first]
        assert first.producer == "p"

    @pytest.mark.parametrize("status", list(ContractStatus)[1:])
    async def test_a_contract_counts_whatever_its_status(self, store, status):
        await store.publish_contract(BOARD, draft("T", status=status))
        (met,) = await found(store, contract(name="T"))
        assert met.status == status

    async def test_each_condition_is_answered_in_its_place_at_the_revision_returned(self, store):
        await fill(store)
        conditions = [
            FileCondition("board.go"),
            contract(name="Close"),
            FileCondition("free.go"),
            PhaseCondition("store", frozenset({PhaseState.RUNNING})),
            PhaseCondition("nobody", frozenset({PhaseState.RUNNING})),
        ]
        evidence, revision = await store.find(BOARD, conditions)
        assert revision == await revision_of(store)
        taken, close, free, running, nobody = evidence
        assert (taken, nobody) == (None, None)
        assert close.name == "Close"
        assert free == FileCondition("free.go")
        assert running.phase_id == "store"

    async def test_an_empty_list_of_conditions_is_met(self, store):
        await fill(store)
        assert await store.find(BOARD, []) == ([], 3)

    async def test_the_answers_are_of_one_revision_however_much_is_written(self, store):
        """One file or the other is always free, and never both."""
        await store.claim_file(BOARD, "a.go", "p")
        conditions = [FileCondition("a.go"), FileCondition("b.go")]
        writing = True

        async def write():
            nonlocal writing
            for held, other in [("a.go", "b.go"), ("b.go", "a.go")] * 30:
                # One call cannot swap them: while both are held, neither is free.
                await store.claim_file(BOARD, other, "p")
                await store.release_claims(BOARD, "p", [held])
            writing = False

        async def read():
            seen = set()
            while writing:
                evidence, revision = await store.find(BOARD, conditions)
                free = sum(one is not None for one in evidence)
                assert free == revision % 2
                seen.add(revision)
                await asyncio.sleep(0)  # a point read may return without yielding
            return len(seen)

        _, seen = await asyncio.gather(write(), read())
        assert seen > 1, "the reader never met the writer"
