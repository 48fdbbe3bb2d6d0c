"""A file of quasar's own Go store opens with its rows, and can be written."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import apsw
import pytest

from board_server.model import (
    ContractDraft,
    ContractFilter,
    ContractKind,
    ContractStatus,
    PageRequest,
    PhaseChange,
    PhaseState,
)
from board_server.sqlite import SqliteStore
from tests.conformance.backend import ALL, BOARD, items, pages
from tests.support.spec_file import make_spec_file


def at(seconds: int) -> datetime:
    return datetime(2026, 2, 23, 5, 3, seconds, tzinfo=UTC)


@pytest.fixture
def store(file, unopened):
    make_spec_file(file)
    return unopened


async def phases(store):
    return await items(lambda page: store.list_phases(BOARD, [], page))


async def test_its_phases_come_in_the_order_of_time_whatever_the_form(store):
    listed = await phases(store)
    assert [phase.phase_id for phase in listed] == ["first", "second", "third", "fourth"]
    assert [phase.posted_at for phase in listed] == [at(45), at(46), at(47), at(48)]


async def test_its_phases_keep_state_and_worker(store):
    second = await store.get_phase_state(BOARD, "second")
    assert (second.state, second.worker, second.updated_at) == (PhaseState.DONE, "w2", at(59))
    fourth = await store.get_phase_state(BOARD, "fourth")
    assert fourth.state == PhaseState.HUMAN_DECISION


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_its_phases_page_as_others_do(store, size):
    read = await pages(lambda page: store.list_phases(BOARD, [], page), size)
    assert [phase for page in read for phase in page.items] == await phases(store)


async def test_its_contracts_and_claims_are_served(store):
    method, file = (await store.list_contracts(BOARD, ContractFilter(), ALL)).items
    assert (method.id, method.kind, method.name) == (1, ContractKind.METHOD, "Close")
    assert (file.id, file.signature, file.package) == (2, "", "")
    assert file.status == ContractStatus.PENDING
    assert method.created_at == file.created_at == at(59)
    claims = (await store.list_claims(BOARD, "third", ALL)).items
    assert [claim.filepath for claim in claims] == [
        "internal/board/board.go",
        "internal/board/sqlite.go",
    ]
    assert claims[0].claimed_at == claims[1].claimed_at


async def test_it_needs_no_opening_and_its_rows_are_revision_one(store):
    assert (await store.list_phases(BOARD, [], ALL)).revision == 1


async def test_a_file_of_the_spec_is_listed_before_it_is_opened(store):
    (info,) = (await store.list_boards(PageRequest(10))).items
    assert (info.name, info.revision) == (BOARD, 0)


async def test_listing_it_does_not_touch_it(store, file):
    before = file.read_bytes()
    await store.list_boards(PageRequest(10))
    assert file.read_bytes() == before


async def test_a_file_of_the_spec_can_be_written(store):
    phase, revision = await store.set_phase_state(BOARD, PhaseChange("second", PhaseState.FAILED))
    assert (phase.posted_at, phase.worker, revision) == (at(46), "w2", 2)
    assert phase.updated_at >= at(59)  # the clock is behind the file's timestamps
    await store.set_phase_state(BOARD, PhaseChange("fifth", PhaseState.QUEUED))
    draft = ContractDraft("second", ContractKind.FILE, "go.mod", "", "", ContractStatus.FULFILLED)
    contract, _ = await store.publish_contract(BOARD, draft)
    assert (contract.id, contract.created_at) == (2, at(59))
    assert (await store.release_claims(BOARD, "third", [])).value == 2
    claim, _ = await store.claim_file(BOARD, "internal/board/board.go", "second")
    assert claim.owner == "second"


async def test_quasars_store_can_read_the_file_afterwards(store, file):
    await store.set_phase_state(BOARD, PhaseChange("second", PhaseState.FAILED))
    await store.close()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT task_id, posted_at FROM board ORDER BY posted_at").fetchall() == [
            ("first", "2026-02-23 05:03:45"),
            ("third", "2026-02-23 05:03:47"),
            ("second", "2026-02-23T05:03:46Z"),
            ("fourth", "2026-02-23T05:03:48Z"),
        ]


async def test_a_word_that_this_version_does_not_know_is_unspecified(store, file):
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE board SET state = 'dreaming' WHERE task_id = 'first'")
        db.execute("UPDATE contracts SET kind = 'macro', status = 'rumoured' WHERE id = 1")
    assert (await phases(store))[0].state == PhaseState.UNSPECIFIED
    contract = (await store.list_contracts(BOARD, ContractFilter(), ALL)).items[0]
    assert contract.kind == ContractKind.UNSPECIFIED
    assert contract.status == ContractStatus.UNSPECIFIED


async def test_a_file_with_a_write_ahead_log_is_opened_with_it(file, directory):
    make_spec_file(file)
    with closing(apsw.Connection(str(file))) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE board SET worker = 'in the log' WHERE task_id = 'first'")
        store = SqliteStore(directory)  # while the other still has it open
        assert (await store.get_phase_state(BOARD, "first")).worker == "in the log"
        await store.close()
