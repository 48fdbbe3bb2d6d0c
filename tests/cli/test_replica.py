"""A board in memory: events that are replayed on a snapshot give a later snapshot."""

import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_client import BoardClient, Contract, FileAlreadyClaimed, SessionExpired
from board_client.cli.replica import Replica
from tests.support.servers import server_thread

PHASE = st.sampled_from(["p1", "p2", "p3"])
FILES = st.lists(st.sampled_from(["a.go", "b.go", "c.go"]), min_size=1, unique=True)
CONTRACTS = st.lists(
    st.builds(
        Contract, PHASE, st.just("type"), st.sampled_from(["S", "T"]), signature=st.text("xy")
    ),
    max_size=3,
)
SESSION = st.sampled_from([None, 0, 1])

CALLS = st.one_of(
    st.tuples(st.just("set_phase_state"), PHASE, st.sampled_from(["queued", "running", "done"])),
    st.tuples(st.just("publish_contracts"), CONTRACTS),
    st.tuples(st.just("claim_files"), FILES, PHASE),
    st.tuples(st.just("release_claims"), PHASE, FILES),
    st.tuples(st.just("complete_phase"), PHASE, st.sampled_from(["done", "failed"]), CONTRACTS),
    st.tuples(st.just("open_session"), st.sampled_from(["w1", "w2"])),
    st.tuples(st.just("close_session"), st.integers(0, 1)),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("replica")
    with server_thread(directory) as address, BoardClient(address) as client:
        yield client


def call(client, sessions, within, name, *arguments):
    """Make one call, perhaps within a live or ended session; it may be refused."""
    if within is not None and within < len(sessions):
        client = client.with_options(session_id=sessions[within])
    if name == "close_session":
        arguments = [sessions[arguments[0] % len(sessions)]] if sessions else ["none"]
    with suppress(FileAlreadyClaimed, SessionExpired):
        result = getattr(client, name)(*arguments)
        if name == "open_session":
            sessions.insert(0, result.session_id)


def untimed(board):
    """Return the board without the expiry of its sessions, whose renewals are not events."""
    never = datetime(1, 1, 1, tzinfo=UTC)
    return replace(board, sessions=[replace(each, expires_at=never) for each in board.sessions])


@settings(max_examples=40)
@given(st.lists(st.tuples(SESSION, CALLS), max_size=20), st.lists(st.tuples(SESSION, CALLS)))
def test_a_replica_that_takes_every_event_equals_a_later_snapshot(server, before, after):
    client = server.with_options(board=f"b-{uuid.uuid4().hex}")
    client.open_board()
    sessions = []
    for within, made in before:
        call(client, sessions, within, *made)
    first = client.get_snapshot()
    for within, made in after:
        call(client, sessions, within, *made)
    last = client.get_snapshot()

    replica = Replica(first)
    for event in client.events(first.revision, last.revision):
        replica.apply(event)
    assert untimed(replica.snapshot()) == untimed(last)
