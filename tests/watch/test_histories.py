"""Whoever watches, from wherever, however often cut off: the history is that of the table."""

import asyncio
from contextlib import closing
from itertools import chain, count, groupby, repeat

import apsw
import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.watch import subscription
from tests.rpc.service import refusal_of
from tests.support.servers import server_thread

PATIENCE = 60
"""Seconds until a test gives up on something that has to come."""

_numbers = count()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("boards")


@pytest.fixture(scope="module")
def server(directory):
    with server_thread(directory) as address:
        yield address


@pytest.fixture(params=["patient", "impatient"])
def patience(request, monkeypatch):
    """How much the server lets wait for one watcher: as usual, or hardly anything."""
    if request.param == "impatient":
        monkeypatch.setattr(subscription, "MAX_COMMITS_BEHIND", 2)


def contract(name, signature):
    return pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name=name, signature=signature)


class Board:
    """One board, those who write to it, and those who watch it."""

    def __init__(self, stub, name):
        self._stub = stub
        self.name = name
        self.written = 0

    async def open(self):
        await self._stub.OpenBoard(pb.OpenBoardRequest(board=self.name))

    async def write(self, writer, amounts):
        """Publish batches of contracts: as many events as the batch is long, one revision."""
        for number, amount in enumerate(amounts):
            batch = [contract(f"{writer} {n}", f"{number}") for n in range(amount)]
            await self._stub.PublishContracts(
                pb.PublishContractsRequest(board=self.name, contracts=batch)
            )
            self.written += 1

    async def watch(self, join, cuts, total):
        """Join when so much is written; be cut off after so many messages, again and again.

        Returns the revision that the watch began at, and the events of each message.
        """
        while self.written < join:
            await self._stub.GetFileOwner(pb.GetFileOwnerRequest(board=self.name, filepath="a"))
        first = await self._one_stream(None, 1, total)
        messages = first
        cuts = chain(cuts, repeat(0))
        while messages[-1].revision < total:
            messages = messages + await self._one_stream(messages[-1].revision, next(cuts), total)
        return first[0].revision, [list(message.events) for message in messages]

    async def history(self, total):
        """Read all events, from the first revision on."""
        messages = await self._one_stream(0, 0, total)
        while messages[-1].revision < total:
            messages += await self._one_stream(messages[-1].revision, 0, total)
        return [event for message in messages for event in message.events]

    async def _one_stream(self, after, cut, total):
        """Read a stream until it is cut off, ends, or has told all; 0 cuts nothing off."""
        messages = []
        stream = self._stub.Watch(pb.WatchRequest(board=self.name, after_revision=after))
        try:
            async for message in stream:
                messages.append(message)
                if len(messages) == cut or message.revision == total:
                    break
        except grpc.aio.AioRpcError as error:
            found = refusal_of(error)
            assert found.reason == "WATCH_TOO_SLOW"
            # A client may drop what it has received and not read when the stream ends.
            assert int(found.metadata["last_revision"]) >= messages[-1].revision
        stream.cancel()
        revisions = [message.revision for message in messages]
        assert revisions == sorted(revisions)
        return messages


def table(file):
    """The revisions of the table `events`, each as often as it has events."""
    with closing(apsw.Connection(str(file))) as db:
        return [revision for (revision,) in db.execute("SELECT revision FROM events ORDER BY 1")]


amounts = st.lists(st.integers(1, 4), min_size=1, max_size=12)
watchers = st.tuples(st.integers(0, 30), st.lists(st.integers(1, 4), max_size=6))


@pytest.mark.usefixtures("patience")
@settings(max_examples=12)
@given(
    writers=st.lists(amounts, min_size=1, max_size=4),
    watchers=st.lists(watchers, min_size=1, max_size=5),
)
async def test_each_watchers_history_is_that_of_the_table(
    server, directory, caplog, writers, watchers
):
    total = sum(map(len, writers))
    async with grpc.aio.insecure_channel(server) as channel, asyncio.timeout(PATIENCE):
        board = Board(BoardServiceStub(channel), f"board-{next(_numbers)}")
        await board.open()
        watching = [
            asyncio.create_task(board.watch(min(join, total), cuts, total))
            for join, cuts in watchers
        ]
        await asyncio.gather(*(board.write(n, amounts) for n, amounts in enumerate(writers)))
        histories = await asyncio.gather(*watching)
        whole = await board.history(total)

    rows = table(directory / f"{board.name}.board.db")
    assert [event.revision for event in whole] == rows
    for began, messages in histories:
        told = [event for message in messages for event in message]
        assert told == [event for event in whole if event.revision > began]
        # No transaction comes in two messages.
        apart = [
            revision
            for message in messages
            for revision, _ in groupby(event.revision for event in message)
        ]
        assert len(apart) == len(set(apart))
    assert caplog.records == []
