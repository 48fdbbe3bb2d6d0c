"""A watch from any revision, with any interruptions, receives exactly the events of the table."""

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
"""Seconds after which a test fails."""

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
    """How many commits may wait in a subscription's queue: the default, or only two."""
    if request.param == "impatient":
        monkeypatch.setattr(subscription, "MAX_COMMITS_BEHIND", 2)


def contract(name, signature):
    return pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name=name, signature=signature)


class Board:
    """One board, with its writers and watchers."""

    def __init__(self, stub, name):
        self._stub = stub
        self.name = name
        self.written = 0

    async def open(self):
        await self._stub.OpenBoard(pb.OpenBoardRequest(board=self.name))

    async def write(self, writer, amounts):
        """Publish batches of contracts; each is one revision with an event for each contract."""
        for number, amount in enumerate(amounts):
            batch = [contract(f"{writer} {n}", f"{number}") for n in range(amount)]
            await self._stub.PublishContracts(
                pb.PublishContractsRequest(board=self.name, contracts=batch)
            )
            self.written += 1

    async def watch(self, join, cuts, total):
        """Watch from `join` revisions on; interrupt the streams after `cuts` messages and resume.

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
        """Read all events from the first revision on."""
        messages = await self._one_stream(0, 0, total)
        while messages[-1].revision < total:
            messages += await self._one_stream(messages[-1].revision, 0, total)
        return [event for message in messages for event in message.events]

    async def _one_stream(self, after, cut, total):
        """Read a stream to its end or to `total`; after `cut` messages, unless 0, cancel it."""
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
            # When a stream ends with an error, gRPC may drop messages that were not read.
            assert int(found.metadata["last_revision"]) >= messages[-1].revision
        stream.cancel()
        revisions = [message.revision for message in messages]
        assert revisions == sorted(revisions)
        return messages


def table(file):
    """Return the revision of each row of the table `events`."""
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
async def test_each_watch_receives_exactly_the_events_of_the_table(
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
        received = [event for message in messages for event in message]
        assert received == [event for event in whole if event.revision > began]
        # No revision is split over two messages.
        apart = [
            revision
            for message in messages
            for revision, _ in groupby(event.revision for event in message)
        ]
        assert len(apart) == len(set(apart))
    assert caplog.records == []
