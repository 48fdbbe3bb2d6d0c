"""A board file has the specification's tables, so that other programs can read and write it."""

import re
import sqlite3
from contextlib import closing

import pytest

from board_server.model import PhaseChange, PhaseState
from tests.conformance.backend import BOARD, fill
from tests.support.spec_file import SCHEMA

TABLES = ["board", "contracts", "file_claims"]

# The layouts time.DateTime and time.RFC3339 of Go, which accepts a fraction after the seconds.
GO_TIME = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d+)?|T\d\d:\d\d:\d\d(\.\d+)?Z)")


@pytest.fixture
async def written(store, file):
    """The file of a board with records of every kind, after its server has ended."""
    await fill(store)
    await store.set_phase_state(BOARD, PhaseChange("store", PhaseState.DONE))
    await store.close()
    with closing(sqlite3.connect(file)) as db:
        yield db


@pytest.fixture
def spec():
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(SCHEMA)
        yield db


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_the_columns_of_the_spec(written, spec, table):
    columns = f"SELECT * FROM pragma_table_info('{table}') ORDER BY cid"
    assert written.execute(columns).fetchall() == spec.execute(columns).fetchall() != []


@pytest.mark.parametrize("table", TABLES)
def test_each_table_has_the_keys_of_the_spec(written, spec, table):
    def keys(db):
        indexes = db.execute(
            f"SELECT name, origin FROM pragma_index_list('{table}') WHERE \"unique\""
        ).fetchall()
        return sorted(
            (origin, [name for _, _, name in db.execute(f"PRAGMA index_info('{index}')")])
            for index, origin in indexes
        )

    assert keys(written) == keys(spec) != []


def test_ids_of_contracts_are_never_given_twice(written, spec):
    statement = "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_schema WHERE name = 'contracts'"
    assert written.execute(statement).fetchone() == spec.execute(statement).fetchone() == (1,)


def test_the_words_in_the_file_are_the_specs(written):
    assert written.execute("SELECT task_id, state, worker FROM board").fetchall() == [
        ("store", "done", "w1")
    ]
    assert written.execute(
        "SELECT producer, kind, name, signature, package, status FROM contracts ORDER BY id"
    ).fetchall() == [
        ("store", "function", "Open", "func()", "board", "fulfilled"),
        ("store", "function", "Close", "func()", "board", "fulfilled"),
    ]
    assert written.execute("SELECT filepath, owner_task FROM file_claims").fetchall() == [
        ("board.go", "store")
    ]


@pytest.mark.parametrize(
    "column",
    ["posted_at board", "updated_at board", "created_at contracts", "claimed_at file_claims"],
)
def test_go_can_read_the_timestamps(written, column):
    name, table = column.split()
    values = [value for (value,) in written.execute(f"SELECT {name} FROM {table}")]
    assert values
    assert [value for value in values if not GO_TIME.fullmatch(value)] == []


def test_sqlites_own_functions_can_read_the_timestamps(written):
    assert written.execute(
        "SELECT datetime(posted_at), datetime(updated_at) FROM board"
    ).fetchall() == [("2026-02-23 05:03:45", "2026-02-23 05:03:45")]


def test_another_program_can_add_rows_as_the_spec_lets_it(written):
    with written:
        written.execute("INSERT INTO board (task_id, state) VALUES ('later', 'queued')")
        written.execute(
            "INSERT INTO contracts (producer, kind, name, signature) VALUES ('p', 'type', 'T', '')"
        )
        written.execute("INSERT INTO file_claims (filepath, owner_task) VALUES ('t.go', 'later')")
    assert written.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
