"""ClaimFile, ReleaseClaims, GetFileOwner and ListClaims."""

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import refusal


@pytest.fixture
def claim(grpc_stub, board):
    return lambda filepath, owner="p": grpc_stub.ClaimFile(
        pb.ClaimFileRequest(board=board, filepath=filepath, owner=owner)
    )


@pytest.fixture
def release(grpc_stub, board):
    return lambda owner, *filepaths: grpc_stub.ReleaseClaims(
        pb.ReleaseClaimsRequest(board=board, owner=owner, filepaths=filepaths)
    )


@pytest.fixture
def owner_of(grpc_stub, board):
    return lambda filepath: (
        grpc_stub.GetFileOwner(pb.GetFileOwnerRequest(board=board, filepath=filepath)).owner
    )


@pytest.fixture
def listed(grpc_stub, board):
    return lambda **where: [
        claim.filepath
        for claim in grpc_stub.ListClaims(pb.ListClaimsRequest(board=board, **where)).claims
    ]


def test_a_claimed_file_has_its_owner(claim, owner_of):
    assert owner_of("a.go") == ""
    reply = claim("a.go")
    assert (reply.claim.filepath, reply.claim.owner, reply.revision) == ("a.go", "p", 1)
    assert owner_of("a.go") == "p"


def test_claiming_ones_own_file_again_is_the_same_answer(claim):
    assert claim("a.go") == claim("a.go")


def test_a_file_of_another_phase_is_refused_with_its_path_and_owner(
    grpc_stub, board, claim, owner_of
):
    claim("a.go")
    request = pb.ClaimFileRequest(board=board, filepath="a.go", owner="q")
    found = refusal(grpc_stub.ClaimFile, request)
    assert found.code == grpc.StatusCode.ALREADY_EXISTS
    assert found.reason == "FILE_ALREADY_CLAIMED"
    assert found.metadata == {"filepath": "a.go", "owner": "p"}
    assert found.text == 'file already claimed by another phase: "a.go" owned by "p"'
    assert owner_of("a.go") == "p"


@pytest.mark.parametrize("letter", ["x", "é", "字", "𝄞", "%", "\n", '"', "\x7f"])
def test_a_conflict_on_the_longest_path_and_owner_arrives_whole(grpc_stub, board, claim, letter):
    """A status is sent in headers, of which a channel accepts 8 KiB by default."""
    size = len(letter.encode())
    path = letter * (4096 // size)
    owner = (letter if letter.isprintable() else "o") * (256 // size)
    claim(path, owner)
    request = pb.ClaimFileRequest(board=board, filepath=path, owner="q")
    found = refusal(grpc_stub.ClaimFile, request)
    assert found.code == grpc.StatusCode.ALREADY_EXISTS
    assert found.metadata == {"filepath": path, "owner": owner}


def test_releasing_counts_what_became_free(claim, release, listed):
    for path in ("a.go", "b.go", "c.go"):
        claim(path)
    claim("d.go", "q")
    reply = release("p", "a.go", "d.go", "z.go")
    assert (reply.released, reply.revision) == (1, 5)
    reply = release("p")
    assert (reply.released, reply.revision) == (2, 6)
    assert listed() == ["d.go"]


def test_releasing_nothing_succeeds(claim, release):
    claim("a.go", "q")
    reply = release("p")
    assert (reply.released, reply.revision) == (0, 1)


def test_claims_are_listed_in_the_byte_order_of_their_paths(claim, listed):
    paths = ["b.go", "B.go", "é.go", "\uff41.go", "𝄞.go", "a//b.go", "./a.go"]
    for path in paths:
        claim(path)
    claim("c.go", "q")
    assert listed(owner="p") == sorted(paths, key=str.encode)
    assert listed() == sorted([*paths, "c.go"], key=str.encode)
    assert listed(owner="nobody") == []


def test_a_list_has_the_revision_of_its_reading(grpc_stub, board, claim):
    claim("a.go")
    claim("b.go")
    assert grpc_stub.ListClaims(pb.ListClaimsRequest(board=board)).revision == 2


def test_a_read_after_the_reply_sees_the_claim_on_any_connection(grpc_create_channel, board, claim):
    with grpc_create_channel() as other:
        get = other.unary_unary(
            "/board.v1.BoardService/GetFileOwner",
            pb.GetFileOwnerRequest.SerializeToString,
            pb.GetFileOwnerResponse.FromString,
        )
        for index in range(50):
            claim(f"{index}.go")
            assert get(pb.GetFileOwnerRequest(board=board, filepath=f"{index}.go")).owner == "p"
