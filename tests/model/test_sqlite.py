"""The SQLite store behaves like the model."""

from hypothesis import HealthCheck, settings

from board_server.sqlite import SqliteStore
from tests.faults.soak import scaled
from tests.model.machine import StoreMachine


class SqliteMachine(StoreMachine):
    def open_store(self, directory, clock):
        return SqliteStore(directory, synchronous="normal", clock=clock)


TestSqliteStore = SqliteMachine.TestCase
TestSqliteStore.settings = settings(
    max_examples=scaled(25, 2000),
    stateful_step_count=scaled(30, 60),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
