"""When a session is lost, how its owner is notified, and when it is not lost."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    BoardNotFound,
    Credentials,
    DeadlineExceeded,
    PermissionDenied,
    SessionExpired,
    Unauthenticated,
    Unavailable,
    calls,
)
from board_client.renewal import LEAVING, Lease
from board_server.config.schema import Config
from board_server.principal import Role
from tests.client.test_session import ends_of_others
from tests.faults.network import Proxy
from tests.support.secured import TokenFile, running
from tests.support.servers import ANY_PORT, server_process, server_thread

PATIENCE = 30
"""Seconds after which a test gives up waiting."""


def held(target, board="", *, ttl=1, until, meanwhile, **options):
    """Hold a session with a BoardClient until `until` returns; return the session."""
    with BoardClient(target, board, **options) as client:
        with client.session("w", ttl=ttl) as session:
            meanwhile(session.session_id)
            until(session.lost)
        return session


def held_by_a_task(target, board="", *, ttl=1, until, meanwhile, **options):
    """Do the same with an AsyncBoardClient."""

    async def hold():
        async with AsyncBoardClient(target, board, **options) as client:
            async with client.session("w", ttl=ttl) as session:
                await asyncio.to_thread(meanwhile, session.session_id)
                if until is lost:
                    await asyncio.wait_for(session.lost.wait(), PATIENCE)
                else:
                    await asyncio.to_thread(until, session.lost)
            return session

    return asyncio.run(hold())


def lost(event):
    assert event.wait(PATIENCE)


either = pytest.mark.parametrize("hold", [held, held_by_a_task])


def freeze(server):
    """Suspend a server with SIGSTOP."""
    os.kill(server.process.pid, signal.SIGSTOP)


@either
def test_a_session_survives_a_connection_that_no_longer_answers(tmp_path, hold):
    with (
        server_thread(tmp_path, board="b") as address,
        Proxy(address) as proxy,
        BoardClient(address, timeout=PATIENCE) as near,
    ):
        session = hold(
            proxy.address,
            ttl=2,
            meanwhile=lambda _: proxy.hold_requests(),
            until=lambda _: ends_of_others(near, 3),
        )
        assert not session.lost.is_set()
        assert session.error is None


@either
def test_a_session_is_lost_one_ttl_after_its_last_renewal_by_the_clients_clock(tmp_path, hold):
    with server_process(tmp_path, board="b") as server:
        session = hold(server.address, meanwhile=lambda _: freeze(server), until=lost)
        server.kill()
    assert isinstance(session.error, SessionExpired)
    assert session.error.session_id == session.session_id
    assert "could not be renewed for 1 s" in str(session.error)


@pytest.fixture
def tokens(tmp_path):
    return TokenFile(tmp_path / "tokens.toml")


@either
@pytest.mark.parametrize(
    ("role", "error"), [(None, Unauthenticated), (Role.READER, PermissionDenied)]
)
def test_a_session_is_lost_when_its_token_is_revoked(tmp_path, tokens, hold, role, error):
    secret = tokens.add("w", Role.WORKER)
    tokens.add("other")

    def revoke(_):
        tokens.replace("w", role) if role else tokens.remove("w")

    with running(Config(tmp_path / "boards", "b", (ANY_PORT,), tokens=tokens.path)) as server:
        session = hold(
            server.address,
            ttl=3,
            credentials=Credentials(token=secret),
            meanwhile=revoke,
            until=lost,
        )
    assert isinstance(session.error, error)


def test_a_command_is_ended_when_its_sessions_token_is_revoked(tmp_path, tokens):
    secret = tokens.add("w", Role.WORKER)
    tokens.add("reader")
    command = [Path(sys.executable).with_name("board"), "--board", "b"]
    with (
        running(Config(tmp_path / "boards", "b", (ANY_PORT,), tokens=tokens.path)) as server,
        BoardClient(
            server.address, "b", credentials=Credentials(token=tokens.secrets["reader"])
        ) as reader,
        closing(reader.watch()) as events,
        subprocess.Popen(
            [*command, "run", "--session", "--ttl", "3s", "--", "sleep", "60"],
            env=os.environ | {"BOARD_TARGET": server.address, "BOARD_TOKEN": secret},
        ) as run,
    ):
        assert next(events).change == "session_opened"
        tokens.remove("w")
        assert run.wait(PATIENCE) == 6


@either
def test_a_session_is_lost_when_its_board_is_deleted(tmp_path, hold):
    def delete(_):
        for file in tmp_path.glob("b.board.db*"):
            file.unlink()

    with server_thread(tmp_path, board="default") as address:
        with BoardClient(address, "b") as client:
            client.open_board()
        session = hold(address, "b", ttl=3, meanwhile=delete, until=lost)
    assert isinstance(session.error, BoardNotFound)


def test_a_session_is_lost_when_its_client_is_closed(server, board):
    client = BoardClient(server, board)
    with client.session("w", ttl=1) as session:
        client.close()
        lost(session.lost)


@either
@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_leaving_a_block_by_ctrl_c_does_not_wait_for_a_frozen_server(tmp_path, hold, end):
    with server_process(tmp_path, board="b") as server:

        def interrupt(_):
            freeze(server)
            raise end

        began = time.monotonic()
        with pytest.raises(end):
            hold(server.address, ttl=60, meanwhile=interrupt, until=None)
        assert time.monotonic() - began < LEAVING + 4
        server.kill()


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lease(clock):
    return Lease(timedelta(seconds=30), clock.now, clock)


def test_a_session_is_renewed_each_third_of_its_ttl(lease, clock):
    assert not lease.due()
    assert lease.pause() == 10
    clock.now += 10
    assert lease.due()
    lease.sent()
    assert (lease.due(), lease.pause()) == (False, 10)


def test_a_renewal_that_fails_is_retried_soon(lease, clock):
    clock.now += 10
    assert lease.take(lease.sent(), Unavailable("away")) is None
    assert lease.pause() == 1
    assert lease.take(lease.sent(), DeadlineExceeded("late")) is None
    assert lease.pause() == 1


def test_an_answer_counts_from_when_its_renewal_was_sent(lease, clock):
    clock.now += 10
    first = lease.sent()
    clock.now += 10
    second = lease.sent()
    clock.now += 5
    assert lease.take(second, None) is None
    assert lease.left() == 25
    assert lease.take(first, None) is None  # late: the other answer counts for longer
    assert lease.left() == 25
    clock.now += 25
    assert lease.lost()


def test_a_late_answer_is_waited_for_until_the_session_may_have_expired(lease, clock):
    clock.now += 10
    lease.sent()
    assert lease.left() == 20
    clock.now += 10
    assert lease.unanswered  # so the next is sent on another connection; this one stays open
    assert lease.due()


def test_a_renewal_counts_from_before_it_is_sent(server, board):
    steps = []
    renewed = threading.Event()

    def note(frame, event, _):
        name = frame.f_code.co_qualname
        if event == "call" and name in {"Lease.sent", "_UnaryUnaryMultiCallable.future"}:
            steps.append(name)
            if len(steps) == 2:
                renewed.set()

    with BoardClient(server, board) as client:
        threading.setprofile(note)
        try:
            with client.session("w", ttl=1):
                assert renewed.wait(PATIENCE)
        finally:
            threading.setprofile(None)
    assert steps[:2] == ["Lease.sent", "_UnaryUnaryMultiCallable.future"]


@pytest.mark.parametrize("hold", [held, held_by_a_task])
def test_a_session_is_lost_if_its_renewal_raises_an_unexpected_error(
    server, board, monkeypatch, hold
):
    def break_renewals(_):
        def fail(*_):
            raise MemoryError("no memory for a call")

        monkeypatch.setattr(calls, "renew_session", fail)

    session = hold(server, board, until=lost, meanwhile=break_renewals)
    assert isinstance(session.error, SessionExpired)
    assert isinstance(session.error.__cause__, MemoryError)
