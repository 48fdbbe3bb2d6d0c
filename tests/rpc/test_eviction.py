"""The server evicts an idle board to open another; the next call reopens it."""

from datetime import timedelta

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.conftest import DEFAULT_BOARD, NotifyingStore
from tests.rpc.service import GOOD, call_of, make, refusal
from tests.support.servers import server_thread

PATIENCE = 30


class SmallStore(NotifyingStore):
    """A store with room for one open board besides the default board."""

    def __init__(self, directory):
        super().__init__(directory, max_boards=2, pinned=DEFAULT_BOARD)


@pytest.fixture(scope="module")
def grpc_server(grpc_directory):
    with server_thread(grpc_directory, board=DEFAULT_BOARD, store=SmallStore) as address:
        yield address


@pytest.fixture
def evict(grpc_stub):
    """A function that waits until the test's board is idle, and opens another, which evicts it."""

    def evict():
        while True:
            try:
                return grpc_stub.OpenBoard(pb.OpenBoardRequest(board="another"))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise

    return evict


@pytest.fixture(autouse=True)
def idle_at_the_end(evict):
    """After the test, wait until the server has noticed that its calls have ended."""
    yield
    evict()


LEAVES_BOARD_IDLE = sorted(GOOD.keys() - {"OpenSession", "RenewSession", "CloseSession"})
"""The RPCs that open no session and need none."""


@pytest.mark.parametrize("rpc", LEAVES_BOARD_IDLE)
def test_a_call_reopens_a_board_that_was_evicted(grpc_stub, board, evict, rpc):
    evict()
    call_of(grpc_stub, rpc)(make(rpc, board=board, **GOOD[rpc]))


def claim(stub, board, path):
    return stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath=path, owner="p")).revision


def test_lists_from_the_watch_cache_are_correct_after_an_eviction(grpc_stub, board, evict):
    def listed():
        return grpc_stub.ListContracts(pb.ListContractsRequest(board=board))

    contract = pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name="T")
    grpc_stub.PublishContract(pb.PublishContractRequest(board=board, contract=contract))
    before = listed()
    evict()
    assert listed() == before
    contract.signature = "type T int"
    grpc_stub.PublishContract(pb.PublishContractRequest(board=board, contract=contract))
    evict()
    (found,) = listed().contracts
    assert found.signature == "type T int"


def test_a_watch_has_the_events_before_an_eviction_and_later_ones(grpc_stub, board, evict):
    first = claim(grpc_stub, board, "a.go")
    evict()
    stream = grpc_stub.Watch(pb.WatchRequest(board=board, after_revision=0), timeout=PATIENCE)
    revisions = (event.revision for message in stream for event in message.events)
    assert next(revisions) == first
    second = claim(grpc_stub, board, "b.go")
    assert next(revisions) == second
    stream.cancel()


def a_watch(stub, board):
    stream = stub.Watch(pb.WatchRequest(board=board), timeout=PATIENCE)
    next(stream)
    return stream.cancel


def a_wait(stub, board):
    claim(stub, board, "held.go")
    free = pb.WaitCondition(file_free=pb.FileCondition(filepath="held.go"))
    request = pb.WaitForRequest(board=board, conditions=[free])
    while NotifyingStore.found.acquire(blocking=False):
        pass  # lookups of other tests' waiters
    call = stub.WaitFor.future(request, timeout=PATIENCE)
    assert NotifyingStore.found.acquire(timeout=PATIENCE)
    return call.cancel


def a_session(stub, board):
    ttl = timedelta(seconds=60)
    opened = stub.OpenSession(pb.OpenSessionRequest(board=board, worker="w", ttl=ttl)).session
    closing = pb.CloseSessionRequest(board=board, session_id=opened.session_id)
    return lambda: stub.CloseSession(closing)


@pytest.mark.parametrize("use", [a_watch, a_wait, a_session])
def test_a_board_in_use_is_not_evicted(grpc_stub, board, use):
    end = use(grpc_stub, board)
    found = refusal(grpc_stub.OpenBoard, pb.OpenBoardRequest(board="another"))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert "max_boards" in found.text
    end()
