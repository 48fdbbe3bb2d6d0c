"""Requests that no generated stub would send."""

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import (
    GOOD,
    REQUESTS,
    SERVICE,
    Refusal,
    each_rpc,
    ending,
    first_reply,
    invalid,
    is_documented,
    is_text,
    make,
    refusal,
)

NOT_UTF8 = b"\xff\xfe\x80"


@pytest.fixture(scope="module")
def raw(grpc_channel):
    """Send bytes to an RPC, whatever they are; return the bytes of its reply, or first reply."""

    def call(rpc):
        method = SERVICE.methods_by_name.get(rpc)
        streams = method and method.server_streaming
        make = grpc_channel.unary_stream if streams else grpc_channel.unary_unary
        sent = make(f"/{SERVICE.full_name}/{rpc}", lambda data: data, lambda data: data)
        return first_reply(sent, rpc) if method else sent

    return call


def delimited(number: int, data: bytes) -> bytes:
    """Encode a field of text, bytes or a message, of fewer than 128 bytes."""
    assert number < 16
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def text_fields():
    for rpc, request in REQUESTS.items():
        for field in request.DESCRIPTOR.fields:
            if is_text(field):
                name = f"{field.name}[0]" if field.is_repeated else field.name
                yield pytest.param(rpc, delimited(field.number, NOT_UTF8), name, id=f"{rpc} {name}")
            elif field.message_type and field.message_type.file == SERVICE.file:
                for inner in filter(is_text, field.message_type.fields):
                    data = delimited(field.number, delimited(inner.number, NOT_UTF8))
                    name = f"{field.name}[0]" if field.is_repeated else field.name
                    name = f"{name}.{inner.name}"
                    yield pytest.param(rpc, data, name, id=f"{rpc} {name}")


@pytest.mark.parametrize(("rpc", "data", "field"), list(text_fields()))
def test_text_that_is_not_utf8_is_refused_by_its_fields_name(raw, rpc, data, field):
    assert invalid(raw(rpc), data) == (field,)


def test_the_item_that_is_not_utf8_is_named(raw):
    good = pb.ReleaseClaimsRequest(owner="p", filepaths=["a.go", "b.go"]).SerializeToString()
    assert invalid(raw("ReleaseClaims"), good + delimited(3, NOT_UTF8)) == ("filepaths[2]",)


@each_rpc
@pytest.mark.parametrize("data", [b"\xff", b"\x0a", b"\x0a\x7fshort", b"\x08", b"\x00" * 9])
def test_bytes_that_are_no_message_are_refused(raw, rpc, data):
    assert invalid(raw(rpc), data) == ("request",)


@each_rpc
def test_fields_that_the_server_does_not_know_are_ignored(raw, rpc):
    request = make(rpc, board="nowhere", **GOOD[rpc]).SerializeToString()
    unknown = b"\xfa\x3f\x03abc"  # field 1023
    assert ending(raw(rpc), request + unknown) == ending(raw(rpc), request)


@each_rpc
@settings(max_examples=60)
@given(data=st.binary(max_size=200))
def test_any_bytes_end_in_an_answer_or_a_refusal(raw, grpc_stub, rpc, data):
    found = ending(raw(rpc), data)
    assert found is None or is_documented(rpc, found)
    grpc_stub.OpenBoard(pb.OpenBoardRequest())  # the server lives


def test_an_unknown_method_is_unimplemented(raw):
    found = refusal(raw("Paint"), b"")
    assert found.code == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_over_the_limit_is_refused_and_the_server_survives(raw, grpc_stub):
    found = refusal(raw("ClaimFile"), bytes(65 * 2**20))
    assert found == Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, found.text)
    grpc_stub.OpenBoard(pb.OpenBoardRequest())
