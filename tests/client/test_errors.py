"""The exception that both clients raise for each error of a call."""

import asyncio
import socket
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    BoardError,
    BoardNotFound,
    BoardReplaced,
    ClientClosed,
    Contract,
    DeadlineExceeded,
    FileAlreadyClaimed,
    FileFree,
    InternalError,
    InvalidArgument,
    RevisionCompacted,
    SessionExpired,
    ShuttingDown,
    StateMismatch,
    StoreFull,
    StoreUnavailable,
    Unavailable,
    WatchTooSlow,
)
from board_server import errors
from board_server.sqlite import SqliteStore
from tests.support.servers import server_thread

Code = grpc.StatusCode


def test_a_file_of_another_phase_is_a_conflict(client):
    client.claim_file("a.go", "p")
    with pytest.raises(FileAlreadyClaimed) as caught:
        client.claim_file("a.go", "q")
    error = caught.value
    assert (error.filepath, error.owner) == ("a.go", "p")
    assert str(error) == 'file already claimed by another phase: "a.go" owned by "p"'
    assert (error.code, error.reason) == (Code.ALREADY_EXISTS, "FILE_ALREADY_CLAIMED")


def test_a_conflict_on_the_longest_path_names_it_whole(client):
    path, owner = "𝄞" * 1024, "é" * 128
    client.claim_file(path, owner)
    with pytest.raises(FileAlreadyClaimed) as caught:
        client.claim_file(path, "q")
    assert (caught.value.filepath, caught.value.owner) == (path, owner)


def test_a_state_mismatch_has_both_states(client):
    client.set_phase_state("p", "done")
    with pytest.raises(StateMismatch) as caught:
        client.set_phase_state("p", "running", expected_state="queued")
    error = caught.value
    assert (error.phase_id, error.expected, error.actual) == ("p", "queued", "done")
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "STATE_MISMATCH")


def test_the_state_mismatch_of_a_missing_phase_has_no_actual_state(client):
    with pytest.raises(StateMismatch) as caught:
        client.set_phase_state("nobody", "running", expected_state="queued")
    assert caught.value.actual == ""


def test_a_board_that_does_not_exist(client):
    with pytest.raises(BoardNotFound) as caught:
        client.with_options(board="nowhere").file_owner("a.go")
    assert caught.value.board == "nowhere"
    assert str(caught.value) == 'board "nowhere" does not exist; open_board() makes it'
    assert (caught.value.code, caught.value.reason) == (Code.NOT_FOUND, "BOARD_NOT_FOUND")


BAD = {
    "phase_id": lambda client: client.get_phase_state(""),
    "worker": lambda client: client.set_phase_state("p", "queued", worker="\n"),
    "filepath": lambda client: client.claim_file("", "p"),
    "owner": lambda client: client.claim_file("a.go", "x" * 257),
    "filepaths[1]": lambda client: client.release_claims("p", ["a.go", ""]),
    "contract.name": lambda client: client.publish_contract(Contract("p", "type", "")),
    "contracts[1].producer": lambda client: client.publish_contracts(
        [Contract("p", "type", "T"), Contract("", "type", "T")]
    ),
    "board": lambda client: client.with_options(board="../x").open_board(),
}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_field_is_named(client, field):
    with pytest.raises(InvalidArgument) as caught:
        BAD[field](client)
    assert caught.value.field == field
    assert field in str(caught.value)
    assert (caught.value.code, caught.value.reason) == (Code.INVALID_ARGUMENT, "INVALID_ARGUMENT")


UNKNOWN_WORDS = {
    "state": lambda client: client.set_phase_state("p", "dreaming"),
    "expected_state": lambda client: client.set_phase_state("p", "done", expected_state="x"),
    "states": lambda client: client.list_phases("done", "dreaming"),
    "kind": lambda client: client.list_contracts(kind="macro"),
    "status": lambda client: client.list_contracts(status="rumoured"),
}


@pytest.mark.parametrize("field", UNKNOWN_WORDS)
def test_a_word_that_the_board_does_not_know_is_refused(client, field):
    with pytest.raises(InvalidArgument) as caught:
        UNKNOWN_WORDS[field](client)
    assert caught.value.field.startswith(field)


@pytest.mark.parametrize(
    "fields", [{"kind": "macro"}, {"kind": ""}, {"status": "rumoured"}], ids=str
)
def test_a_contract_with_a_word_that_the_board_does_not_know_is_refused(client, fields):
    contract = Contract(**{"producer": "p", "kind": "type", "name": "T"} | fields)
    (field,) = fields
    with pytest.raises(InvalidArgument) as caught:
        client.publish_contract(contract)
    assert caught.value.field == f"contract.{field}"
    with pytest.raises(InvalidArgument) as caught:
        client.publish_contracts([Contract("p", "type", "T"), contract])
    assert caught.value.field == f"contracts[1].{field}"
    assert client.all_contracts() == []


FAILURES = {
    "unavailable": errors.StoreUnavailable("no disk"),
    "full": errors.StoreFull("no room"),
    "closing": errors.ShuttingDown(),
    "expired": errors.SessionExpired("s"),
    "compacted": errors.RevisionCompacted(3, 7),
    "replaced": errors.BoardReplaced("id"),
    "slow": errors.WatchTooSlow(9),
    "broken": ZeroDivisionError(),
}


class FailingStore(SqliteStore):
    """A store in which reading the owner of a file raises the error that its name selects."""

    async def get_file_owner(self, board, filepath):  # noqa: ARG002  the Store's arguments
        raise FAILURES[filepath]


@pytest.fixture(scope="module")
def failing_server(tmp_path_factory):
    with server_thread(tmp_path_factory.mktemp("boards"), store=FailingStore) as address:
        yield address


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        ("unavailable", StoreUnavailable, Code.UNAVAILABLE),
        ("closing", ShuttingDown, Code.UNAVAILABLE),
        ("full", StoreFull, Code.RESOURCE_EXHAUSTED),
        ("expired", SessionExpired, Code.FAILED_PRECONDITION),
        ("compacted", RevisionCompacted, Code.OUT_OF_RANGE),
        ("replaced", BoardReplaced, Code.FAILED_PRECONDITION),
        ("slow", WatchTooSlow, Code.RESOURCE_EXHAUSTED),
        ("broken", InternalError, Code.INTERNAL),
    ],
)
def test_each_failure_of_the_server_raises_its_own_class(
    connect, failing_server, failure, kind, code
):
    with pytest.raises(BoardError) as caught:
        connect(failing_server).file_owner(failure)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert issubclass(kind, Unavailable) == (code == Code.UNAVAILABLE)


def test_an_internal_error_can_be_reported_by_its_id(connect, failing_server):
    with pytest.raises(InternalError) as caught:
        connect(failing_server).file_owner("broken")
    assert caught.value.error_id
    assert caught.value.error_id in str(caught.value)


FAILING = {
    "a call": lambda client: client.with_options(board="nowhere").file_owner("a.go"),
    "a list": lambda client: client.with_options(board="nowhere").list_phases(),
    "a snapshot": lambda client: client.with_options(board="nowhere").get_snapshot(),
}


@pytest.mark.parametrize("fail", FAILING.values(), ids=FAILING)
def test_an_error_has_no_traceback_of_grpc(client, fail):
    with pytest.raises(BoardError) as caught:
        fail(client)
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("Traceback") == 1
    assert "RpcError" not in text
    assert "_InactiveRpcError" not in text


@pytest.fixture
def mute():
    """A listener that accepts connections and never sends anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def address_of(listener):
    return "{}:{}".format(*listener.getsockname())


@pytest.fixture
def black_hole(mute):
    """The address of such a listener."""
    return address_of(mute)


@pytest.fixture
def nobody():
    """The address of a bound port on which no server listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*bound.getsockname())


CALLS = {
    "a call": lambda client: client.file_owner("a.go"),
    "a list": lambda client: client.all_contracts(),
    "a write": lambda client: client.claim_file("a.go", "p"),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_call
def test_a_server_that_does_not_answer_ends_in_the_deadline(connect, black_hole, call):
    client = connect(black_hole, timeout=0.5)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        call(client)
    assert 0.4 < time.monotonic() - began < 3
    assert "0.5 s" in str(caught.value)
    assert black_hole in str(caught.value)
    assert caught.value.code == Code.DEADLINE_EXCEEDED


AT_FIRST = CALLS | {
    "a snapshot": lambda client: client.get_snapshot(),
    "events": lambda client: client.events(0, 1),
}


@pytest.mark.parametrize("call", AT_FIRST.values(), ids=AT_FIRST)
def test_no_server_on_this_machine_is_reported_soon_and_in_one_line(connect, nobody, call):
    client = connect(nobody, timeout=30)
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        call(client)
    assert time.monotonic() - began < 2
    assert str(caught.value) == (
        f"no board answers at {nobody} (Connection refused); `board serve` starts one"
    )
    assert (caught.value.code, caught.value.reason) == (Code.UNAVAILABLE, "")


def test_a_unix_path_without_a_socket_is_reported_too(connect, tmp_path):
    with pytest.raises(Unavailable, match=r"none\.sock \(No such file or directory\)"):
        connect(f"unix:{tmp_path}/none.sock", timeout=5).file_owner("a.go")


CLOSED = CALLS | {
    "a snapshot": lambda client: client.get_snapshot(),
    "events": lambda client: client.events(0, 1),
    "a wait": lambda client: client.wait_for(FileFree("a.go")),
}


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_a_call_of_a_closed_client_raises_client_closed(connect, nobody, call):
    client = connect(nobody)
    sharing = client.with_options(board="another")
    client.close()
    for closed in (client, sharing):
        with pytest.raises(ClientClosed, match=f"{nobody} is closed"):
            call(closed)


UNDER_WAY = CLOSED | {"a watch": lambda client: client.watch()}


@pytest.mark.parametrize("call", UNDER_WAY.values(), ids=UNDER_WAY)
def test_closing_the_client_ends_a_call_that_waits_for_its_answer(mute, call):
    client = BoardClient(address_of(mute), timeout=60)
    with ThreadPoolExecutor() as threads:
        ended = threads.submit(call, client)
        connection, _ = mute.accept()
        with connection:
            client.close()
            with pytest.raises(ClientClosed):
                ended.result()


UNDER_WAY_TOO = CLOSED | {"a watch": lambda client: anext(client.watch())}


@pytest.mark.parametrize("call", UNDER_WAY_TOO.values(), ids=UNDER_WAY_TOO)
async def test_closing_the_client_ends_an_async_call_that_waits_for_its_answer(mute, call):
    client = AsyncBoardClient(address_of(mute), timeout=60)
    ended = asyncio.ensure_future(call(client))
    connection, _ = await asyncio.to_thread(mute.accept)
    with connection:
        await client.close()
        with pytest.raises(ClientClosed):
            await ended


async def test_a_cancelled_call_ends_as_cancelled(black_hole):
    async with AsyncBoardClient(black_hole) as client:
        call = asyncio.create_task(client.file_owner("a.go"))
        await asyncio.wait([call], timeout=0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
