"""A SQLite store, and a hook for the connections that it makes.

While a store has a file open, tests read it with apsw too: another SQLite library
in the same process, such as Python's own, would release the locks of the store
(sqlite.org/howtocorrupt.html, section 2.2.1).
"""

import apsw
import pytest

from board_server.sqlite import SqliteStore
from tests.conformance.backend import BOARD, Clock


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "boards"


@pytest.fixture
def file(directory):
    """The file of BOARD."""
    return directory / f"{BOARD}.board.db"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def connection_hook():
    """Call the test's function with every connection that is opened from then on."""
    before = list(apsw.connection_hooks)
    yield apsw.connection_hooks.append
    apsw.connection_hooks[:] = before


@pytest.fixture
async def unopened(directory, clock):
    """A store without open boards."""
    store = SqliteStore(directory, clock=clock)
    yield store
    await store.close()


@pytest.fixture
async def store(unopened):
    await unopened.open_board(BOARD)
    return unopened
