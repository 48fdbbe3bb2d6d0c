"""With any values in its fields, a call is answered or fails as the proto documents."""

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import PATIENCE, REQUESTS, WAIT, call_of, each_rpc, ending, is_documented

BOARD = "any-input"

lengths = st.sampled_from([128, 129, 256, 257, 1024, 1025, 4096, 4097, 2**20, 2**20 + 1])
texts = st.one_of(
    st.sampled_from(["a", "b", "c"]),  # few, so that calls find the records of earlier ones
    st.text(max_size=30),
    st.text(st.sampled_from("\0\t\n\x1b\x7f\x80\x9f '\"%_\\;ä\u2028\ufeff\uffff𝄞"), max_size=8),
    st.builds(lambda letter, length: letter * length, st.sampled_from("xé𝄞"), lengths),
)
boards = st.one_of(st.just(BOARD), st.just(BOARD), st.just(""), texts)
int32s = st.integers(-(2**31), 2**31 - 1)
int64s = st.integers(-(2**63), 2**63 - 1)
enums = st.integers(-1, 9) | int32s

SCALARS = {
    FieldDescriptor.TYPE_STRING: texts,
    FieldDescriptor.TYPE_INT32: int32s,
    FieldDescriptor.TYPE_INT64: int64s,
    FieldDescriptor.TYPE_ENUM: enums,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
}


def values(field: FieldDescriptor) -> st.SearchStrategy:
    if field.name == "board" and field.type == FieldDescriptor.TYPE_STRING:
        return boards
    value = messages(field.message_type) if field.message_type else SCALARS[field.type]
    return st.lists(value, max_size=4) if field.is_repeated else value


def messages(message: Descriptor) -> st.SearchStrategy:
    """Return a strategy of messages with any values; any field may be missing."""
    fields = {field.name: values(field) for field in message.fields}
    return st.fixed_dictionaries({}, optional=fields).map(
        lambda chosen: GetMessageClass(message)(**chosen)
    )


ANY = {rpc: messages(request.DESCRIPTOR) for rpc, request in REQUESTS.items()}


@pytest.fixture(scope="module")
def opened(grpc_stub):
    return grpc_stub.OpenBoard(pb.OpenBoardRequest(board=BOARD)).board


@each_rpc
@settings(max_examples=40)
@given(data=st.data())
def test_any_fields_end_in_an_answer_or_a_documented_error(opened, grpc_stub, rpc, data):
    request = data.draw(ANY[rpc])
    found = ending(call_of(grpc_stub, rpc, WAIT if rpc == "WaitFor" else PATIENCE), request)
    assert found is None or is_documented(rpc, found)
    reply = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=BOARD))
    assert reply.board.board_id == opened.board_id
