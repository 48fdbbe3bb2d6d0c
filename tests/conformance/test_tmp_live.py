import pytest
from board_server.sqlite import SqliteStore
from tests.conformance.events import EventsConformance
from tests.conformance.sessions import SessionsConformance
from tests.conformance.completion import CompletionConformance
from tests.conformance.snapshots import SnapshotsConformance
from tests.conformance.conditions import ConditionsConformance

class TestSqliteStoreX(EventsConformance, SessionsConformance, CompletionConformance, SnapshotsConformance, ConditionsConformance):
    @pytest.fixture
    def open_store(self, tmp_path, clock):
        return lambda: SqliteStore(tmp_path / "boards", clock=clock)
