"""Boards: opened, listed, and never mixed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_server.errors import BoardNotFound
from board_server.model import PageRequest, PhaseChange, PhaseState
from tests.conformance.backend import BOARD, CALLS, Conformance, contents, each, fill, items, pages

NAMES = ["A", "Z.9", "a", "a-b", "a.b", "a.board.db", "a_b", "aa", "b" * 128, "zeta"]
"""In byte order."""


class BoardsConformance(Conformance):
    async def test_opening_a_board_creates_it_at_revision_zero(self, store, clock):
        before = clock.now
        info = await store.open_board("fresh")
        assert (info.name, info.revision) == ("fresh", 0)
        assert info.board_id
        assert before < info.created_at <= clock.now

    async def test_opening_a_board_again_changes_nothing(self, store):
        await fill(store)
        before = await contents(store)
        assert await store.open_board(BOARD) == await store.open_board(BOARD)
        assert await contents(store) == before

    async def test_a_board_keeps_its_id_and_contents_across_a_reopening(self, store, reopen):
        await fill(store)
        info, held = await store.open_board(BOARD), await contents(store)
        store = await reopen()
        assert await store.open_board(BOARD) == info
        assert await contents(store) == held

    async def test_a_board_that_was_opened_before_a_restart_is_open_after_it(self, store, reopen):
        await fill(store)
        store = await reopen()
        assert await store.get_file_owner(BOARD, "board.go") == "store"

    async def test_two_boards_have_different_ids(self, store):
        assert (await store.open_board("a")).board_id != (await store.open_board("b")).board_id

    @each(CALLS)
    async def test_a_board_that_was_never_opened_is_not_found(self, store, call):
        with pytest.raises(BoardNotFound) as caught:
            await call(store, "nowhere")
        assert caught.value.board == "nowhere"

    async def test_a_refused_call_creates_no_board(self, store):
        with pytest.raises(BoardNotFound):
            await store.set_phase_state("nowhere", PhaseChange("p", PhaseState.QUEUED))
        assert [info.name for info in await items(store.list_boards)] == [BOARD]

    async def test_boards_never_mix(self, store):
        await store.open_board("other")
        empty = await contents(store, "other")
        await fill(store)
        assert await contents(store, "other") == empty
        held = await contents(store)
        await store.set_phase_state("other", PhaseChange("store", PhaseState.FAILED, "w2"))
        await store.claim_file("other", "board.go", "another")
        await store.release_claims("other", "store", [])
        assert await contents(store) == held
        assert await store.get_file_owner("other", "board.go") == "another"

    async def test_each_board_counts_its_own_revisions(self, store):
        await store.open_board("other")
        await fill(store)
        change = PhaseChange("p", PhaseState.QUEUED)
        assert (await store.set_phase_state("other", change)).revision == 1

    async def test_boards_are_listed_in_the_byte_order_of_their_names(self, store):
        for name in reversed(NAMES):
            await store.open_board(name)
        listed = await items(store.list_boards)
        assert [info.name for info in listed] == sorted([*NAMES, BOARD], key=str.encode)

    async def test_a_listed_board_has_the_info_of_the_opened_one(self, store):
        await fill(store)
        assert await items(store.list_boards) == [await store.open_board(BOARD)]

    async def test_the_list_of_boards_survives_a_reopening(self, store, reopen):
        await fill(store)
        before = await items(store.list_boards)
        store = await reopen()
        assert await items(store.list_boards) == before

    async def test_the_list_of_boards_has_revision_zero(self, store):
        await fill(store)
        assert (await store.list_boards(PageRequest(10))).revision == 0

    async def test_any_page_size_lists_the_same_boards(self, store):
        for name in NAMES:
            await store.open_board(name)
        whole = await items(store.list_boards)

        for size in range(1, len(whole) + 2):
            read = await pages(store.list_boards, size)
            assert [info for page in read for info in page.items] == whole
            assert all(len(page.items) <= size for page in read)

    @settings(max_examples=10)
    @given(name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True))
    async def test_every_name_that_is_allowed_can_be_opened(self, store, name):
        assert (await store.open_board(name)).name == name
        assert name in [info.name for info in await items(store.list_boards)]
