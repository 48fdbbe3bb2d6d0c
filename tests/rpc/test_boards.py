"""OpenBoard and ListBoards."""

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_server.sqlite.lock import FileLock
from tests.rpc.conftest import DEFAULT_BOARD
from tests.rpc.service import GOOD, REQUESTS, call_of, make, refusal


def test_opening_a_board_describes_it(grpc_stub):
    info = grpc_stub.OpenBoard(pb.OpenBoardRequest(board="fresh")).board
    assert (info.name, info.revision) == ("fresh", 0)
    assert info.board_id
    assert info.created_at.seconds > 1_700_000_000


def test_opening_a_board_again_gives_the_same_answer(grpc_stub, board):
    request = pb.OpenBoardRequest(board=board)
    assert grpc_stub.OpenBoard(request) == grpc_stub.OpenBoard(request)


def test_opening_no_board_opens_the_default_one(grpc_stub):
    assert grpc_stub.OpenBoard(pb.OpenBoardRequest()).board.name == DEFAULT_BOARD


def test_the_empty_name_is_the_default_board(grpc_stub):
    grpc_stub.ClaimFile(pb.ClaimFileRequest(filepath="a.go", owner="p"))
    request = pb.GetFileOwnerRequest(board=DEFAULT_BOARD, filepath="a.go")
    assert grpc_stub.GetFileOwner(request).owner == "p"


def test_the_default_board_is_open_from_the_start(grpc_stub):
    assert not grpc_stub.GetPhaseState(pb.GetPhaseStateRequest(phase_id="p")).HasField("phase")


def test_boards_are_files_of_the_directory(grpc_directory, board):
    assert (grpc_directory / f"{board}.board.db").is_file()


def test_boards_are_listed_by_name_with_their_revision(grpc_stub, board):
    grpc_stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath="a.go", owner="p"))
    boards = grpc_stub.ListBoards(pb.ListBoardsRequest()).boards
    names = [info.name for info in boards]
    assert names == sorted(names)
    assert {board, DEFAULT_BOARD} <= set(names)
    (listed,) = (info for info in boards if info.name == board)
    assert listed == grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board
    assert listed.revision == 1


def test_boards_are_listed_a_page_at_a_time(grpc_stub):
    for name in ("x-1", "x-2", "x-3"):
        grpc_stub.OpenBoard(pb.OpenBoardRequest(board=name))
    whole = list(grpc_stub.ListBoards(pb.ListBoardsRequest()).boards)
    paged, request = [], pb.ListBoardsRequest(page_size=1)
    while True:
        reply = grpc_stub.ListBoards(request)
        assert len(reply.boards) <= 1
        paged += reply.boards
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    assert paged == whole


def no_database(file):
    file.write_text("no database")


def damaged(file):
    file.write_bytes(b"SQLite format 3\0" + bytes(5000))


def a_symbolic_link(file):
    file.symlink_to(file.parent / f"{DEFAULT_BOARD}.board.db")


def a_directory(file):
    file.mkdir()


def locked(file):
    FileLock(file.with_name(f"{file.name}.lock"))


@pytest.mark.parametrize("make", [no_database, damaged, a_symbolic_link, a_directory, locked])
def test_an_error_does_not_show_where_the_server_keeps_its_files(grpc_stub, grpc_directory, make):
    board = make.__name__
    make(grpc_directory / f"{board}.board.db")
    found = refusal(grpc_stub.OpenBoard, pb.OpenBoardRequest(board=board))
    assert (found.code, found.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert "/" not in found.text
    assert str(grpc_directory) not in str(found)


ON_A_BOARD = [rpc for rpc in GOOD if rpc not in {"OpenBoard", "ListBoards"}]


def test_every_rpc_has_its_good_request():
    assert GOOD.keys() == REQUESTS.keys()


@pytest.mark.parametrize("rpc", ON_A_BOARD)
def test_a_board_that_was_never_opened_is_not_found(grpc_stub, rpc):
    found = refusal(call_of(grpc_stub, rpc), make(rpc, board="nowhere", **GOOD[rpc]))
    assert found.code == grpc.StatusCode.NOT_FOUND
    assert (found.reason, found.metadata) == ("BOARD_NOT_FOUND", {"board": "nowhere"})
    assert "nowhere" in found.text


@pytest.mark.parametrize("rpc", sorted(GOOD.keys() - {"RenewSession", "CloseSession"}))
def test_a_good_request_is_answered(grpc_stub, board, rpc):
    call_of(grpc_stub, rpc)(make(rpc, board=board, **GOOD[rpc]))


@pytest.mark.parametrize("rpc", ["RenewSession", "CloseSession"])
def test_an_unknown_session_is_refused_as_expired(grpc_stub, board, rpc):
    found = refusal(call_of(grpc_stub, rpc), make(rpc, board=board, session_id="unknown"))
    assert found.code == grpc.StatusCode.FAILED_PRECONDITION
    assert (found.reason, found.metadata) == ("SESSION_EXPIRED", {"session_id": "unknown"})


def test_boards_never_mix(grpc_stub):
    for name in ("left", "right"):
        grpc_stub.OpenBoard(pb.OpenBoardRequest(board=name))
        state = pb.PHASE_STATE_DONE if name == "left" else pb.PHASE_STATE_FAILED
        grpc_stub.SetPhaseState(pb.SetPhaseStateRequest(board=name, phase_id="p", state=state))
        grpc_stub.ClaimFile(pb.ClaimFileRequest(board=name, filepath="a.go", owner=name))
    left, right = (
        grpc_stub.GetPhaseState(pb.GetPhaseStateRequest(board=name, phase_id="p")).phase.state
        for name in ("left", "right")
    )
    assert (left, right) == (pb.PHASE_STATE_DONE, pb.PHASE_STATE_FAILED)
    assert (
        grpc_stub.GetFileOwner(pb.GetFileOwnerRequest(board="left", filepath="a.go")).owner
        == "left"
    )
