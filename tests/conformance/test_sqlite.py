"""The SQLite backend keeps every promise of the Store."""

import pytest

from board_server.sqlite import SqliteStore
from tests.conformance.suite import StoreConformance


class TestSqliteStore(StoreConformance):
    @pytest.fixture
    def open_store(self, tmp_path, clock):
        return lambda: SqliteStore(tmp_path / "boards", clock=clock)
