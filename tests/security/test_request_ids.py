"""A call repeated with its idempotency key gets its first answer; other callers do not."""

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.principal import Role
from board_server.wire.statuses import DETAILS_KEY
from tests.rpc.service import refusal, refusal_of
from tests.support.secured import ANY_PORT, bearer, running, stub

ID = (("board-request-id", "1"),)
LONGEST = (("board-request-id", "i" * 256),)


@pytest.fixture
def callers(tokens):
    """The metadata of two callers, the second with a name of the greatest length."""
    return [bearer(tokens.add(name, Role.WORKER)) for name in ("a", "b" * 64)]


@pytest.fixture
def board(tmp_path, tokens, callers):  # noqa: ARG001  whose tokens are there from the start
    config = Config(tmp_path / "boards", "b", (ANY_PORT,), tokens=tokens.path)
    with running(config) as server, server.channel() as channel:
        yield stub(channel)


def claim(board, path, metadata) -> pb.ClaimFileResponse:
    return board.ClaimFile(pb.ClaimFileRequest(filepath=path, owner="p"), metadata=metadata)


@pytest.mark.parametrize("request_id", [ID, LONGEST])
def test_another_callers_request_id_is_another_call(board, callers, request_id):
    first, second = ((*shown, *request_id) for shown in callers)
    answer = claim(board, "a.go", first)
    assert claim(board, "b.go", second).claim.filepath == "b.go"
    assert claim(board, "a.go", first) == answer


def test_a_request_id_that_is_too_long_is_refused(board, callers):
    with pytest.raises(grpc.RpcError) as error:
        claim(board, "a.go", (*callers[1], ("board-request-id", "i" * 257)))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("second", ["1", "2", ""])
def test_a_call_with_two_request_ids_is_refused_and_changes_nothing(board, callers, second):
    twice = (*callers[0], *ID, ("board-request-id", second))
    refused = refusal(
        lambda request: board.ClaimFile(request, metadata=twice),
        pb.ClaimFileRequest(filepath="a.go", owner="p"),
    )
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == ("board-request-id",)
    asked = pb.GetFileOwnerRequest(filepath="a.go")
    assert board.GetFileOwner(asked, metadata=callers[0]).owner == ""


REUSED = {
    "another request": lambda board, how: claim(board, "b.go", how),
    "another method": lambda board, how: board.ReleaseClaims(
        pb.ReleaseClaimsRequest(owner="p"), metadata=how
    ),
    "another session": lambda board, how: board.ClaimFile(
        pb.ClaimFileRequest(filepath="a.go", owner="p", session_id="s"), metadata=how
    ),
}


@pytest.mark.parametrize("call", REUSED.values(), ids=REUSED)
def test_a_request_id_that_was_given_to_another_call_is_refused(board, callers, call):
    how = (*callers[0], *ID)
    answer = claim(board, "a.go", how)
    with pytest.raises(grpc.RpcError) as error:
        call(board, how)
    refused = refusal_of(error.value)
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == ("board-request-id",)
    assert "ClaimFile" in refused.text
    assert claim(board, "a.go", how) == answer
    assert board.GetFileOwner(pb.GetFileOwnerRequest(filepath="b.go"), metadata=how).owner == ""


def test_an_idempotency_key_remembers_a_refusal_too(board, callers):
    claim(board, "a.go", callers[1])
    how = (*callers[0], *ID)
    request = pb.ClaimFileRequest(filepath="a.go", owner="q")
    refusals = [refusal(lambda r: board.ClaimFile(r, metadata=how), request) for _ in range(2)]
    assert refusals[0] == refusals[1]
    assert refusals[0].reason == "FILE_ALREADY_CLAIMED"


def test_a_repeated_refusal_has_the_same_conflicts(board, callers):
    request = pb.ClaimFilesRequest(filepaths=[f"{n}" for n in range(5000)], owner="p")
    board.ClaimFiles(request, metadata=callers[1])
    request.owner = "q"
    details = []
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as error:
            board.ClaimFiles(request, metadata=(*callers[0], *ID))
        details.append(dict(error.value.trailing_metadata())[DETAILS_KEY])
    assert details[0] == details[1]
    assert len(details[0]) > 4000
