"""Closing a store: calls in progress end, later calls are refused."""

import asyncio

import pytest

from board_server.errors import ShuttingDown
from board_server.model import PageRequest
from tests.conformance.backend import (
    BOARD,
    CALLS,
    READS,
    Conformance,
    contents,
    each,
    fill,
    items,
    revision_of,
)

ALSO = {
    "open_board": lambda s, b: s.open_board(b),
    "open_board of a new one": lambda s, _: s.open_board("new"),
    "list_boards": lambda s, _: s.list_boards(PageRequest(10)),
}


class LifecycleConformance(Conformance):
    @each(CALLS | ALSO)
    async def test_a_closed_store_refuses_every_call(self, store, call):
        await fill(store)
        await store.close()
        with pytest.raises(ShuttingDown):
            await call(store, BOARD)

    async def test_closing_twice_is_the_same_as_closing_once(self, store):
        await store.close()
        await store.close()

    async def test_two_callers_may_close_the_store_at_once(self, store):
        await fill(store)
        await asyncio.gather(store.close(), store.close())

    async def test_closing_a_store_that_opened_nothing_succeeds(self, open_store):
        await open_store().close()

    async def test_written_records_exist_after_a_reopening(self, store, reopen):
        await fill(store)
        before = await contents(store)
        assert await contents(await reopen()) == before

    async def test_writes_in_progress_succeed_or_are_refused_when_the_store_closes(
        self, store, reopen
    ):
        claims = [
            asyncio.create_task(store.claim_file(BOARD, f"{index}.go", "p")) for index in range(50)
        ]
        await asyncio.sleep(0)  # let each begin
        reopening = asyncio.create_task(reopen())
        outcomes = await asyncio.gather(*claims, return_exceptions=True)
        done = {result.value for result in outcomes if not isinstance(result, BaseException)}
        refused = [error for error in outcomes if isinstance(error, BaseException)]
        assert all(isinstance(error, ShuttingDown) for error in refused)
        assert done, "none was under way"

        store = await reopening
        listed = await items(lambda page: store.list_claims(BOARD, None, page))
        assert set(listed) == done
        assert await revision_of(store) == len(done)

    @each(READS)
    async def test_reads_are_answered_or_refused_while_the_store_closes(self, store, call):
        for index in range(8):  # more to close takes longer
            await store.open_board(f"other-{index}")
        await fill(store)
        closing = asyncio.create_task(store.close())
        outcomes = []
        while not closing.done():
            outcomes += await asyncio.gather(call(store, BOARD), return_exceptions=True)
            await asyncio.sleep(0)  # let the closing go on
        await closing
        errors = [error for error in outcomes if isinstance(error, BaseException)]
        assert [error for error in errors if not isinstance(error, ShuttingDown)] == []
