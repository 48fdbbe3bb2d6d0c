"""Contracts: published one by one or in batches, and listed."""

from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_server.model import (
    ContractDraft,
    ContractFilter,
    ContractKind,
    ContractStatus,
    PageRequest,
)
from board_server.store import MAX_PAGE_BYTES
from tests.conformance.backend import BOARD, Conformance, contents, draft, items, pages

KINDS = [kind for kind in ContractKind if kind]
STATUSES = [status for status in ContractStatus if status]


def fields_of(contract) -> dict:
    """Return the fields that the producer gives."""
    return {
        key: value for key, value in asdict(contract).items() if key not in {"id", "created_at"}
    }


async def listed(store, **where):
    return await items(lambda page: store.list_contracts(BOARD, ContractFilter(**where), page))


text = st.text(max_size=20)
named = st.text(min_size=1, max_size=20)
drafts = st.builds(
    ContractDraft,
    producer=st.sampled_from(["a", "b", "é"]),
    kind=st.sampled_from(KINDS),
    name=st.sampled_from(["N", "n", "ñ"]) | named,
    signature=text,
    package=text,
    status=st.sampled_from(STATUSES),
)


class ContractsConformance(Conformance):
    async def test_a_contract_is_listed_as_the_write_returned_it(self, store, clock):
        contract, _ = await store.publish_contract(BOARD, draft("Open"))
        assert fields_of(contract) == asdict(draft("Open"))
        assert contract.id > 0
        assert contract.created_at == clock.now
        assert await listed(store) == [contract]

    async def test_every_kind_and_status_lists_back(self, store):
        for kind in KINDS:
            for status in STATUSES:
                await store.publish_contract(BOARD, draft(status, kind=kind, status=status))
        assert [(c.kind, c.status) for c in await listed(store)] == [
            (kind, status) for kind in KINDS for status in STATUSES
        ]

    async def test_text_of_all_sorts_lists_back(self, store):
        odd = ContractDraft(
            "prodücer", ContractKind.TYPE, "a\nb\0c", "tab\t\r\n'\"; DROP TABLE board; 𝄞", ""
        )
        await store.publish_contract(BOARD, odd)
        await store.publish_contracts(BOARD, [replace(odd, name="ж" * 2048, signature="")])
        assert [fields_of(contract) for contract in await listed(store)] == [
            asdict(odd),
            asdict(replace(odd, name="ж" * 2048, signature="")),
        ]

    async def test_publishing_again_replaces_what_the_key_does_not_name(self, store):
        first, _ = await store.publish_contract(BOARD, draft("Open"))
        other = draft("Open", signature="func() error", package="", status=ContractStatus.DISPUTED)
        second, _ = await store.publish_contract(BOARD, other)
        assert (second.id, second.created_at) == (first.id, first.created_at)
        assert fields_of(second) == asdict(other)
        assert await listed(store) == [second]

    @pytest.mark.parametrize(
        "other",
        [
            {"signature": "changed"},
            {"signature": ""},
            {"package": "changed"},
            {"status": ContractStatus.PENDING},
        ],
        ids=lambda other: next(iter(other)),
    )
    async def test_each_field_alone_makes_a_change(self, store, other):
        first = await store.publish_contract(BOARD, draft("Open"))
        second = await store.publish_contract(BOARD, draft("Open", **other))
        assert second.revision == first.revision + 1

    async def test_publishing_an_equal_contract_changes_nothing(self, store):
        first = await store.publish_contract(BOARD, draft("Open"))
        before = await contents(store)
        assert await store.publish_contract(BOARD, draft("Open")) == first
        assert await contents(store) == before

    async def test_other_producers_contracts_stay(self, store):
        mine, _ = await store.publish_contract(BOARD, draft("Open", "mine"))
        yours, _ = await store.publish_contract(BOARD, draft("Open", "yours", signature="other"))
        assert await listed(store) == [mine, yours]

    async def test_the_same_name_of_another_kind_is_another_contract(self, store):
        for kind in KINDS:
            await store.publish_contract(BOARD, draft("Open", kind=kind))
        assert [contract.kind for contract in await listed(store)] == KINDS

    async def test_names_are_compared_byte_for_byte(self, store):
        for name in ("open", "Open", "Open ", "O\u0301pen", "\u00d3pen"):
            await store.publish_contract(BOARD, draft(name))
        assert len(await listed(store)) == 5

    async def test_an_empty_batch_succeeds_and_changes_nothing(self, store):
        before = await contents(store)
        assert await store.publish_contracts(BOARD, []) == (0, before[0])
        assert await contents(store) == before

    async def test_a_batch_is_one_revision_with_one_reading_of_the_clock(self, store):
        batch = [draft(f"F{index}") for index in range(20)]
        assert await store.publish_contracts(BOARD, batch) == (20, 1)
        contracts = await listed(store)
        assert [contract.name for contract in contracts] == [item.name for item in batch]
        assert len({contract.created_at for contract in contracts}) == 1

    async def test_within_a_batch_the_last_of_equal_keys_wins(self, store):
        batch = [draft("A", signature="1"), draft("B"), draft("A", signature="2")]
        published, _ = await store.publish_contracts(BOARD, batch)
        assert published == 2
        assert {c.name: c.signature for c in await listed(store)} == {"A": "2", "B": "func()"}

    async def test_a_batch_counts_contracts_that_existed_already(self, store):
        batch = [draft("A"), draft("B"), draft("B")]
        first = await store.publish_contracts(BOARD, batch)
        before = await contents(store)
        assert await store.publish_contracts(BOARD, batch) == first == (2, 1)
        assert await contents(store) == before

    async def test_duplicates_whose_last_one_equals_the_stored_contract_change_nothing(self, store):
        await store.publish_contract(BOARD, draft("A"))
        before = await contents(store)
        await store.publish_contracts(BOARD, [draft("A", signature="passing"), draft("A")])
        assert await contents(store) == before

    async def test_a_batch_changes_only_what_differs(self, store):
        await store.publish_contracts(BOARD, [draft("A"), draft("B"), draft("C")])
        before = await listed(store)
        batch = [draft("A"), draft("B", signature="new"), draft("D")]
        assert await store.publish_contracts(BOARD, batch) == (3, 2)
        after = await listed(store)
        assert after[0] == before[0]
        assert (after[1].id, after[1].signature) == (before[1].id, "new")
        assert after[2] == before[2]
        assert after[3].name == "D"

    async def test_ids_follow_the_order_of_publication(self, store, clock):
        clock.step = -timedelta(seconds=1)  # the clock does not matter
        for index in (3, 1, 2):
            await store.publish_contract(BOARD, draft(f"F{index}"))
        contracts = await listed(store)
        assert [contract.name for contract in contracts] == ["F3", "F1", "F2"]
        assert [c.id for c in contracts] == sorted({c.id for c in contracts})

    @settings(max_examples=25)
    @given(batches=st.lists(st.lists(drafts, max_size=6), max_size=4))
    async def test_batches_leave_what_publishing_one_by_one_would(self, store, batches):
        board = f"b{len(await items(store.list_boards))}"  # a new one for each example
        await store.open_board(board)
        model: dict = {}
        for batch in batches:
            await store.publish_contracts(board, batch)
            model |= {item.key: item for item in batch}
        contracts = await items(lambda page: store.list_contracts(board, ContractFilter(), page))
        assert {(c.producer, c.kind, c.name): fields_of(c) for c in contracts} == {
            key: asdict(item) for key, item in model.items()
        }

    @pytest.fixture
    async def varied(self, store):
        """The store with contracts that differ in all that a filter can name."""
        await store.publish_contracts(
            BOARD,
            [
                draft(name, producer, kind=kind, package=package, status=status)
                for index, (name, producer, package) in enumerate(
                    (name, producer, package)
                    for name in ("A", "B")
                    for producer in ("p", "q")
                    for package in ("", "x")
                )
                for kind in (KINDS[index % 6], KINDS[(index + 1) % 6])
                for status in (STATUSES[index % 3],)
            ],
        )
        return store

    @settings(max_examples=60)
    @given(
        size=st.integers(1, 20),
        where=st.builds(
            ContractFilter,
            producer=st.sampled_from([None, "p", "q", "nobody"]),
            kind=st.sampled_from([None, *KINDS]),
            name=st.sampled_from([None, "A", "B", "a"]),
            package=st.sampled_from([None, "", "x"]),
            status=st.sampled_from([None, *STATUSES]),
        ),
    )
    async def test_any_filter_in_any_page_size_lists_exactly_what_matches(
        self, varied, size, where
    ):
        wanted = {key: value for key, value in asdict(where).items() if value is not None}
        matching = [
            contract
            for contract in await listed(varied)
            if all(getattr(contract, key) == value for key, value in wanted.items())
        ]
        read = await pages(lambda page: varied.list_contracts(BOARD, where, page), size)
        assert [contract for page in read for contract in page.items] == matching
        assert all(len(page.items) <= size for page in read)

    @pytest.mark.parametrize("letter", ["x", "é", "𝄞"])
    async def test_pages_of_long_signatures_end_early_and_lose_nothing(self, store, letter):
        long = letter * (2**20 // len(letter.encode()))
        batch = [draft(f"F{index}", signature=long) for index in range(7)]
        await store.publish_contracts(BOARD, batch)
        read = await pages(lambda page: store.list_contracts(BOARD, ContractFilter(), page), 1000)
        assert [c.name for page in read for c in page.items] == [item.name for item in batch]
        assert all(contract.signature == long for page in read for contract in page.items)
        for page in read:
            size = sum(len(contract.signature.encode()) for contract in page.items)
            assert 0 < size <= MAX_PAGE_BYTES

    async def test_a_contract_published_between_two_pages_is_on_a_later_one(self, store):
        await store.publish_contracts(BOARD, [draft("A"), draft("B")])
        first = await store.list_contracts(BOARD, ContractFilter(), PageRequest(1))
        await store.publish_contract(BOARD, draft("C"))
        second = await store.list_contracts(BOARD, ContractFilter(), PageRequest(10, first.next))
        assert [contract.name for contract in first.items + second.items] == ["A", "B", "C"]
        assert (first.revision, second.revision) == (1, 2)
