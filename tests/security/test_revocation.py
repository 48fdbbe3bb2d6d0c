"""Watches and waits end when their token is revoked or loses a permission that they need."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import grpc
import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    Contract,
    Credentials,
    PermissionDenied,
    PhaseIn,
    Unauthenticated,
)
from board_client.v1 import board_pb2 as pb
from board_server.auth.policy import Policy
from board_server.call_context import Call
from board_server.config.schema import Config
from board_server.principal import Role
from board_server.rpc import revocation
from board_server.rpc import server as server_module
from board_server.rpc.revocation import Revocation
from tests.support.secured import ANY_PORT, bearer, running, stub

NEVER = PhaseIn("p", "decomposed")


@pytest.fixture
def server(tmp_path, tokens, monkeypatch):
    monkeypatch.setattr(server_module, "CHECK", 0.05)
    tokens.add("reader")
    tokens.add("other")
    tokens.add("worker", Role.WORKER)
    with running(Config(tmp_path / "boards", "b", (ANY_PORT,), tokens=tokens.path)) as server:
        yield server


@pytest.fixture
def client(server, tokens):
    """Return a client with a token."""
    with ExitStack() as clients:

        def client(name):
            credentials = Credentials(token=tokens.secrets[name])
            board = BoardClient(server.address, "b", timeout=60, credentials=credentials)
            return clients.enter_context(board)

        yield client


def test_a_watch_ends_when_its_token_is_revoked_and_others_continue(tokens, client):
    revoked, kept = client("reader").watch(), client("other").watch()
    tokens.remove("reader")
    with pytest.raises(Unauthenticated):
        next(revoked)
    client("worker").set_phase_state("p", "running")
    assert next(kept).record.phase_id == "p"
    kept.close()


def test_a_wait_ends_when_its_token_is_revoked(server, tokens, client):
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(client("reader").wait_for, NEVER)
        until_active(server, 1)
        tokens.remove("reader")
        with pytest.raises(Unauthenticated):
            waiting.result()
    until_active(server, 0)


async def test_an_asynchronous_watch_and_wait_end_too(server, tokens):
    credentials = Credentials(token=tokens.secrets["reader"])
    async with AsyncBoardClient(server.address, "b", timeout=60, credentials=credentials) as client:
        waiting = asyncio.create_task(client.wait_for(NEVER))
        async with client.watch() as watch:
            tokens.remove("reader")
            with pytest.raises(Unauthenticated):
                await anext(watch)
        with pytest.raises(Unauthenticated):
            await waiting


def test_a_watch_ends_when_its_token_is_bound_to_other_boards(tokens, client):
    watch = client("reader").watch()
    tokens.replace("reader", boards=["other"])
    with pytest.raises(PermissionDenied):
        next(watch)


def test_a_watch_continues_when_its_token_gets_a_higher_role(tokens, client):
    reader = client("reader")
    watch, other = reader.watch(), client("other").watch()
    tokens.replace("reader", role=Role.WORKER)
    tokens.remove("other")
    with pytest.raises(Unauthenticated):  # when the server has checked the watches
        next(other)
    reader.set_phase_state("p", "running")
    assert next(watch).record.phase_id == "p"
    watch.close()


async def test_a_call_whose_reply_is_being_sent_does_not_end_with_its_token(tokens, monkeypatch):
    monkeypatch.setattr(revocation, "CHECKED_AT_ONCE", 1)  # other tasks run after each call's check
    tokens.add("reader")
    tracked = Revocation(Policy(tokens.path, "b", no_session))
    begun, answered, sent = asyncio.Barrier(7), asyncio.Event(), asyncio.Event()

    async def wait_for():
        """Make a call that ends; then the last one has its answer."""
        try:
            async with tracked.tracking(call_of(tokens), Role.READER, NO_CONDITION, None):
                await begun.wait()
                await asyncio.Event().wait()
        finally:
            answered.set()

    async def wait_for_answer():
        call = call_of(tokens)
        async with tracked.tracking(call, Role.READER, NO_CONDITION, None):
            await begun.wait()
            await answered.wait()
        await sent.wait()
        return call

    ended = [asyncio.create_task(wait_for()) for _ in range(5)]
    last = asyncio.create_task(wait_for_answer())
    await begun.wait()
    tokens.remove("reader")
    while not answered.is_set():
        await tracked.check()
    sent.set()
    assert (await last).ended is None
    await asyncio.wait(ended)


NO_CONDITION = pb.WaitForRequest(board="b")


def call_of(tokens):
    return Call("WaitFor", bearer(tokens.secrets["reader"]))


async def no_session(*_):
    return None


def test_a_watcher_that_does_not_read_is_ended_too(server, tokens, client):
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    worker = client("worker")
    with server.channel(options=narrow) as channel:
        metadata = bearer(tokens.secrets["reader"])
        watch = stub(channel).Watch(pb.WatchRequest(board="b"), metadata=metadata)
        next(watch)
        for number in count():
            if sample(server, "board_revisions_behind", board="b"):
                break
            worker.publish_contract(Contract("p", "type", f"T{number}", signature="x" * 2**17))
        tokens.remove("reader")
        until(server, "board_watchers", 0, board="b")
        with pytest.raises(grpc.RpcError) as error:
            for _ in watch:
                pass
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def sample(server, name, **labels) -> float:
    return server.metrics.registry.get_sample_value(name, labels)


def until_active(server, calls):
    """Wait until this many calls are in progress."""
    until(server, "board_rpcs_active", calls)


def until(server, name, value, **labels):
    """Wait until a metric has this value."""
    deadline = time.monotonic() + 60
    while sample(server, name, **labels) != value:
        assert time.monotonic() < deadline
