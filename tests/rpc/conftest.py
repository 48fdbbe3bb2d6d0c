"""pytest-grpc's fixtures for the real server.

`grpc_server` starts it in a thread, on a port that the system picks. The fixtures
`grpc_addr`, `grpc_create_channel`, `grpc_channel` and `grpc_stub` then work as in
pytest-grpc. All tests of a module share a server; each has a board of its own.
"""

import threading
from itertools import count

import pytest

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.sqlite import SqliteStore
from tests.support.servers import server_thread

DEFAULT_BOARD = "default-board"

_numbers = count(1)


class NotifyingStore(SqliteStore):
    """A store that releases `found` when a WaitFor has looked up its conditions and waits."""

    found = threading.Semaphore(0)

    async def find(self, board, conditions):
        found = await super().find(board, conditions)
        self.found.release()
        return found


@pytest.fixture(scope="module")
def grpc_directory(tmp_path_factory):
    """The directory of the board files."""
    return tmp_path_factory.mktemp("boards")


@pytest.fixture(scope="module")
def grpc_server(grpc_directory):
    with server_thread(grpc_directory, board=DEFAULT_BOARD) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_addr(grpc_server):
    return grpc_server


@pytest.fixture(scope="module")
def grpc_stub_cls():
    return BoardServiceStub


@pytest.fixture
def board(grpc_stub):
    """A new, open board."""
    name = f"board-{next(_numbers)}"
    grpc_stub.OpenBoard(pb.OpenBoardRequest(board=name))
    return name
