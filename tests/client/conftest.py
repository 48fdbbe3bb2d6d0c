"""Both clients against one real server, each test on a board of its own."""

import inspect
from itertools import count

import pytest

from board_client import AsyncBoardClient, BoardClient
from tests.support.loops import runner
from tests.support.servers import server_process

DEFAULT_BOARD = "default-board"

_numbers = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a server in a process of its own."""
    with server_process(tmp_path_factory.mktemp("boards"), board=DEFAULT_BOARD) as running:
        yield running.address


@pytest.fixture
def board(server):
    """The name of a new, open board."""
    name = f"board-{next(_numbers)}"
    with BoardClient(server, name) as client:
        client.open_board()
    return name


class Blocking:
    """An AsyncBoardClient that is called like a BoardClient, so that one test serves both."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        value = getattr(self._client, name)
        return self._plain(value) if callable(value) else value

    def _plain(self, method):
        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            if inspect.iscoroutine(result):
                result = runner().run(result)
            if isinstance(result, AsyncBoardClient):
                return Blocking(result)
            return result

        return call


@pytest.fixture(params=[BoardClient, AsyncBoardClient])
def connect(request):
    """Make a client of either kind, which is called without `await`; close it at the end."""
    clients = []

    async def make(*args, **kwargs):
        return request.param(*args, **kwargs)

    def connect(*args, **kwargs):
        client = runner().run(make(*args, **kwargs))
        clients.append(client if request.param is BoardClient else Blocking(client))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect, server, board):
    """A client of either kind, of a new board."""
    return connect(server, board)
