"""ClaimFiles: all or none."""

import threading

import grpc
import pytest
from google.rpc import status_pb2

from board_client.v1 import board_pb2 as pb
from board_server.wire.statuses import DETAILS_KEY
from tests.rpc.service import refusal, refusal_of


@pytest.fixture
def claim_files(grpc_stub, board):
    return lambda *filepaths, owner="p": grpc_stub.ClaimFiles(
        pb.ClaimFilesRequest(board=board, filepaths=filepaths, owner=owner)
    )


@pytest.fixture
def claimed(grpc_stub, board):
    return lambda owner: [
        claim.filepath
        for claim in grpc_stub.ListClaims(pb.ListClaimsRequest(board=board, owner=owner)).claims
    ]


def conflicts_of(error) -> list[tuple[str, str]]:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    conflict = pb.FileClaimConflict()
    return [
        (conflict.filepath, conflict.owner) for detail in status.details if detail.Unpack(conflict)
    ]


def test_several_files_are_claimed_all_or_none(grpc_stub, board, claim_files, claimed):
    reply = claim_files("b.go", "a.go")
    assert [claimed.filepath for claimed in reply.claims] == ["b.go", "a.go"]
    assert reply.revision == 1
    claim_files("d.go", owner="q")
    request = pb.ClaimFilesRequest(board=board, filepaths=["c.go", "d.go"], owner="p")
    found = refusal(grpc_stub.ClaimFiles, request)
    assert found.code == grpc.StatusCode.ALREADY_EXISTS
    assert found.metadata == {"filepath": "d.go", "owner": "q"}
    assert (claimed("p"), claimed("q")) == (["a.go", "b.go"], ["d.go"])


def test_the_error_names_every_conflict(claim_files):
    for path, owner in (("a.go", "q"), ("b.go", "p"), ("c.go", "r")):
        claim_files(path, owner=owner)
    with pytest.raises(grpc.RpcError) as caught:
        claim_files("a.go", "b.go", "c.go")
    assert conflicts_of(caught.value) == [("a.go", "q"), ("c.go", "r")]


@pytest.mark.parametrize("letter", ["x", "é", "𝄞"])
@pytest.mark.parametrize("size", [16, 128, 512, 1024, 2048, 4096])
def test_conflicts_on_many_files_arrive_whatever_their_size(
    grpc_stub, board, claim_files, letter, size
):
    width = len(letter.encode())
    longest = letter * (4096 // width)
    others = [f"{n:02}" + letter * ((size - 2) // width) for n in range(40)]
    owner = letter * (256 // width)
    for paths in ([longest, *others], others):
        claim_files(*paths, owner=owner)
        for _ in range(10):  # between 8 and 16 KiB grpc refuses some and accepts some
            request = pb.ClaimFilesRequest(board=board, filepaths=paths, owner="q")
            found = refusal(grpc_stub.ClaimFiles, request)
            assert found.code == grpc.StatusCode.ALREADY_EXISTS
            assert found.metadata == {"filepath": paths[0], "owner": owner}


def test_a_path_named_twice_is_claimed_once_and_answered_twice(claim_files, claimed):
    reply = claim_files("b.go", "a.go", "b.go")
    assert [claim.filepath for claim in reply.claims] == ["b.go", "a.go", "b.go"]
    assert reply.revision == 1
    assert claimed("p") == ["a.go", "b.go"]


def test_claiming_ones_own_files_again_is_the_same_answer(claim_files):
    first = claim_files("a.go", "b.go")
    assert claim_files("a.go", "b.go") == first
    reply = claim_files("b.go", "c.go")
    assert (reply.claims[0], reply.revision) == (first.claims[1], 2)


def test_claiming_no_files_succeeds(claim_files):
    assert claim_files() == pb.ClaimFilesResponse(revision=0)


def test_ten_thousand_conflicts_arrive_as_many_as_fit(claim_files):
    """A channel accepts 8 KiB of headers by default."""
    paths = [f"internal/board/file{number:05}.go" for number in range(10_000)]
    claim_files(*paths)
    with pytest.raises(grpc.RpcError) as caught:
        claim_files(*paths, owner="q")
    found = refusal_of(caught.value)
    assert found.code == grpc.StatusCode.ALREADY_EXISTS
    assert found.metadata == {"filepath": paths[0], "owner": "p"}
    conflicts = conflicts_of(caught.value)
    assert conflicts == [(path, "p") for path in paths[: len(conflicts)]]
    assert len(conflicts) >= 10
    headers = sum(len(key) + len(value) + 32 for key, value in caught.value.trailing_metadata())
    assert headers < 8192


def test_if_two_claim_the_same_files_in_any_order_one_gets_all(claim_files, claimed):
    paths = [f"{number}.go" for number in range(20)]
    orders = {"p": paths, "q": paths[::-1], "r": paths[10:] + paths[:10]}
    won = []

    def claim(owner):
        try:
            claim_files(*orders[owner], owner=owner)
        except grpc.RpcError:
            return
        won.append(owner)

    threads = [threading.Thread(target=claim, args=(owner,)) for owner in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert claimed(winner) == sorted(paths)
