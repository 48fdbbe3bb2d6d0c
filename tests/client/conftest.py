"""Both clients against one real server, each test on a board of its own."""

import asyncio
import inspect
from itertools import count

import pytest

from board_client import AsyncBoardClient, BoardClient
from tests.servers import server_process

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

    def __init__(self, client, runner):
        self._client = client
        self._runner = runner

    def __getattr__(self, name):
        value = getattr(self._client, name)
        return self._plain(value) if callable(value) else value

    def _plain(self, method):
        def call(*args, **kwargs):
            result = method(*args, **kwargs)
            if inspect.iscoroutine(result):
                result = self._runner.run(result)
            if isinstance(result, AsyncBoardClient):
                return Blocking(result, self._runner)
            return result

        return call


@pytest.fixture(params=[BoardClient, AsyncBoardClient])
def connect(request):
    """Make a client of either kind, which is called without `await`; close it at the end."""
    clients = []
    with asyncio.Runner() as runner:

        async def make(*args, **kwargs):
            return request.param(*args, **kwargs)

        def connect(*args, **kwargs):
            client = runner.run(make(*args, **kwargs))
            clients.append(client if request.param is BoardClient else Blocking(client, runner))
            return clients[-1]

        yield connect
        for client in clients:
            client.close()


@pytest.fixture
def client(connect, server, board):
    """A client of either kind, of a new board."""
    return connect(server, board)
