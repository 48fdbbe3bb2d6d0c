"""A page token continues the list that it comes from, and is refused for any other."""

import re
import struct
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from board_client.v1 import board_pb2 as pb
from board_server.wire import lists, page_tokens
from tests.rpc.service import ending, invalid, make

LISTS = {
    "ListBoards": "boards",
    "ListPhases": "phases",
    "ListContracts": "contracts",
    "ListClaims": "claims",
    "ListSessions": "sessions",
}
each_list = pytest.mark.parametrize("rpc", LISTS)


@pytest.fixture(scope="module")
def filled(grpc_stub):
    """The name of a board with ten records of each kind; another board has the same."""
    for board in ("filled", "twin"):
        grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board))
        for n in range(10):
            grpc_stub.OpenBoard(pb.OpenBoardRequest(board=f"other-{n}"))
            phase = pb.SetPhaseStateRequest(board=board, phase_id=f"p{n}", state=1 + n % 2)
            grpc_stub.SetPhaseState(phase)
            contract = pb.Contract(producer=f"p{n % 2}", kind=1, name=f"T{n}")
            grpc_stub.PublishContract(pb.PublishContractRequest(board=board, contract=contract))
            claim = pb.ClaimFileRequest(board=board, filepath=f"{n}.go", owner=f"p{n % 2}")
            grpc_stub.ClaimFile(claim)
            session = pb.OpenSessionRequest(board=board, worker="w", ttl=timedelta(hours=1))
            grpc_stub.OpenSession(session)
    return "filled"


def token_of(grpc_stub, rpc, board, **fields):
    reply = getattr(grpc_stub, rpc)(make(rpc, board=board, page_size=2, **fields))
    assert reply.next_page_token
    return reply.next_page_token


def items_of(reply, rpc):
    items = list(getattr(reply, LISTS[rpc]))
    if rpc == "ListSessions":
        for session in items:
            session.ClearField("expires_at")  # differs between two readings of the clock
    return items


def read_all(grpc_stub, rpc, **fields):
    """Read to the end; return the items of each page."""
    request, pages = make(rpc, **fields), []
    while True:
        reply = getattr(grpc_stub, rpc)(request)
        pages.append(items_of(reply, rpc))
        request.page_token = reply.next_page_token
        if not request.page_token:
            return pages


@each_list
@settings(max_examples=15)
@given(size=st.integers(1, 30))
def test_any_page_size_gives_the_same_list(grpc_stub, filled, rpc, size):
    (whole,) = read_all(grpc_stub, rpc, board=filled)
    assert len(whole) >= 10
    pages = read_all(grpc_stub, rpc, board=filled, page_size=size)
    assert [item for page in pages for item in page] == whole
    assert all(len(page) <= size for page in pages)


@each_list
def test_the_page_size_may_change_on_the_way(grpc_stub, filled, rpc):
    token = token_of(grpc_stub, rpc, filled)
    rest = getattr(grpc_stub, rpc)(make(rpc, board=filled, page_token=token))
    (whole,) = read_all(grpc_stub, rpc, board=filled)
    assert items_of(rest, rpc) == whole[2:]


@each_list
def test_a_token_can_be_used_twice(grpc_stub, filled, rpc):
    request = make(rpc, board=filled, page_token=token_of(grpc_stub, rpc, filled), page_size=2)
    first, second = getattr(grpc_stub, rpc)(request), getattr(grpc_stub, rpc)(request)
    assert items_of(first, rpc) == items_of(second, rpc)
    assert first.next_page_token == second.next_page_token


@each_list
@pytest.mark.parametrize(
    "token", ["garbage", "!", "\n", "é", "x" * 10_000, "AAAAAAAAAAA=", "W10=", "bnVsbA==", "=", " "]
)
def test_a_token_that_is_garbage_is_refused(grpc_stub, filled, rpc, token):
    request = make(rpc, board=filled, page_token=token)
    assert invalid(getattr(grpc_stub, rpc), request) == ("page_token",)


@each_list
def test_a_token_of_another_list_is_refused(grpc_stub, filled, rpc):
    for other in LISTS.keys() - {rpc}:
        request = make(rpc, board=filled, page_token=token_of(grpc_stub, other, filled))
        assert invalid(getattr(grpc_stub, rpc), request) == ("page_token",)


@pytest.mark.parametrize("rpc", sorted(LISTS.keys() - {"ListBoards"}))
def test_a_token_of_another_board_is_refused(grpc_stub, filled, rpc):
    request = make(rpc, board="twin", page_token=token_of(grpc_stub, rpc, filled))
    assert invalid(getattr(grpc_stub, rpc), request) == ("page_token",)


@pytest.mark.parametrize(
    ("rpc", "here", "there"),
    [
        ("ListPhases", {"states": [1]}, {"states": [2]}),
        ("ListPhases", {"states": [1]}, {}),
        ("ListContracts", {"producer": "p0"}, {"producer": "p1"}),
        ("ListContracts", {"producer": "p0"}, {}),
        ("ListContracts", {}, {"package": ""}),
        ("ListClaims", {"owner": "p0"}, {"owner": "p1"}),
    ],
    ids=str,
)
def test_a_token_of_other_filters_is_refused(grpc_stub, filled, rpc, here, there):
    token = token_of(grpc_stub, rpc, filled, **here)
    request = make(rpc, board=filled, page_token=token, **there)
    assert invalid(getattr(grpc_stub, rpc), request) == ("page_token",)


@each_list
@given(data=st.data())
def test_a_token_that_was_tampered_with_is_refused(grpc_stub, filled, rpc, data):
    token = token_of(grpc_stub, rpc, filled)
    last = len(token.rstrip("=")) - 1  # not every bit of the last character counts
    where = data.draw(st.integers(0, last - 1))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"))
    tampered = token[:where] + letter + token[where + 1 :]
    assume(tampered != token)
    request = make(rpc, board=filled, page_token=tampered)
    assert invalid(getattr(grpc_stub, rpc), request) == ("page_token",)


def forged(rpc, board, payload):
    """Make a token of this list with these bytes and the correct digest."""
    read = getattr(lists, re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower())(make(rpc, board=board))
    listed = read if isinstance(read, lists.Listed) else read[0]
    digest = page_tokens._digest(listed.scope, payload)
    return urlsafe_b64encode(digest + payload).decode()


texts = st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
packed = texts.map(lambda text: struct.pack(">I", len(text)) + text)
payloads = (
    st.binary(max_size=64)
    | st.lists(packed, max_size=3).map(b"".join)
    | st.integers(-(2**63), 2**63 - 1).map(lambda number: struct.pack(">q", number))
    | st.sampled_from([b"null", b"5", b"[" * 4000, b'["\\ud800"]', b"[1e999]", b"{}"])
)


@each_list
@settings(max_examples=60)
@given(payload=payloads)
def test_any_page_token_is_a_position_or_refused(grpc_stub, filled, rpc, payload):
    request = make(rpc, board=filled, page_token=forged(rpc, filled, payload))
    found = ending(getattr(grpc_stub, rpc), request)
    assert found is None or found.fields == ("page_token",)


@each_list
@settings(max_examples=30)
@given(token=st.text(min_size=1, max_size=200) | st.binary(max_size=99).map(urlsafe_b64encode))
def test_any_other_text_is_refused(grpc_stub, filled, rpc, token):
    assume(token)
    request = make(rpc, board=filled, page_token=token)
    assert invalid(getattr(grpc_stub, rpc), request) == ("page_token",)


@each_list
@pytest.mark.parametrize("more", ["=", "A", "AAAA", "\n"])
def test_a_token_with_trailing_characters_is_refused(grpc_stub, filled, rpc, more):
    request = make(rpc, board=filled, page_token=token_of(grpc_stub, rpc, filled) + more)
    assert invalid(getattr(grpc_stub, rpc), request) == ("page_token",)


@pytest.mark.parametrize(("size", "field"), [(2**19, "page_token"), (2**23, "request")])
def test_a_huge_token_is_refused(grpc_stub, filled, size, field):
    request = make("ListPhases", board=filled, page_token="A" * size)
    assert invalid(grpc_stub.ListPhases, request) == (field,)


def test_a_list_pages_past_the_longest_path_of_the_strangest_characters(grpc_stub, board):
    paths = ["\x01" * 4096, "\x01" * 4095 + "\x02", "é" * 2048]
    claims = pb.ClaimFilesRequest(board=board, filepaths=paths, owner="p")
    grpc_stub.ClaimFiles(claims)
    pages = read_all(grpc_stub, "ListClaims", board=board, page_size=1)
    assert [claim.filepath for page in pages for claim in page] == paths
