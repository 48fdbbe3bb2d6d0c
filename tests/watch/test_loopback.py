"""A session does not expire before the server has read the calls that had arrived by then."""

import asyncio
import socket
import threading

import pytest

from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.errors import CannotListen
from board_server.rpc import loopback
from board_server.rpc.loopback import Loopback
from tests.support.secured import ANY_PORT, running, stub

SESSIONS = pb.EVENT_KIND_SESSION


class Slow:
    """Answers the server's calls to itself only while `may_answer` is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    async def answer(self, request, _):
        self.asked.set()
        await asyncio.to_thread(self.may_answer.wait)
        return request


@pytest.fixture
def slow(monkeypatch):
    slow = Slow()
    monkeypatch.setattr(loopback, "_answer", slow.answer)
    yield slow
    slow.may_answer.set()


def test_a_session_whose_renewal_is_read_late_stays_alive(slow, tmp_path):
    with running(Config(tmp_path / "boards", "b", (ANY_PORT,))) as server, server.channel() as to:
        board = stub(to)
        ttl = {"seconds": 1}
        opened = board.OpenSession(pb.OpenSessionRequest(worker="w", ttl=ttl)).session
        slow.may_answer.clear()
        slow.asked.clear()
        slow.asked.wait()  # its ttl is over
        board.RenewSession(pb.RenewSessionRequest(session_id=opened.session_id))
        slow.asked.clear()
        slow.may_answer.set()
        slow.asked.wait()  # its ttl is over again, without a renewal
        for message in board.Watch(pb.WatchRequest(after_revision=0, kinds=[SESSIONS])):
            if any(event.HasField("session_ended") for event in message.events):
                break
        assert board.ListSessions(pb.ListSessionsRequest()).sessions == []


async def test_a_server_whose_connection_to_itself_is_taken_says_so_and_does_not_hang(monkeypatch):
    monkeypatch.setattr(loopback, "CONNECT_TIMEOUT", 0.2)
    itself = Loopback()
    name = itself._address.removeprefix("unix-abstract:")  # any local user reads /proc/net/unix
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(f"\0{name}")
        with pytest.raises(CannotListen, match=f"cannot connect to itself at .*{name}"):
            async with itself:
                pass


async def test_caught_up_waits_for_a_call_that_began_after_it(slow):
    async with Loopback() as itself:
        slow.may_answer.clear()
        slow.asked.clear()
        first = asyncio.create_task(itself.caught_up())
        await asyncio.to_thread(slow.asked.wait)
        second = asyncio.create_task(itself.caught_up())
        slow.asked.clear()
        slow.may_answer.set()
        await asyncio.gather(first, second)
        assert slow.asked.is_set()
