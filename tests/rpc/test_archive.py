"""ArchiveBoard empties a board only at the given revision."""

import grpc

from board_client.v1 import board_pb2 as pb
from tests.rpc.service import refusal, whole_board


def fill(stub, board):
    stub.SetPhaseState(
        pb.SetPhaseStateRequest(board=board, phase_id="p", state=pb.PHASE_STATE_DONE)
    )
    contract = pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name="T")
    stub.PublishContract(pb.PublishContractRequest(board=board, contract=contract))
    return stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath="a.go", owner="p")).revision


def test_a_board_at_its_revision_is_emptied_at_once(grpc_stub, board):
    revision = fill(grpc_stub, board)
    archived = grpc_stub.ArchiveBoard(pb.ArchiveBoardRequest(board=board, revision=revision))
    assert (archived.phases, archived.contracts, archived.claims) == (1, 1, 1)
    assert archived.revision == revision + 1
    left = whole_board(grpc_stub, board)
    assert (left.phases, left.contracts, left.claims) == ([], [], [])


def test_its_events_say_that_it_was_archived(grpc_stub, board):
    revision = fill(grpc_stub, board)
    watch = grpc_stub.Watch(pb.WatchRequest(board=board, after_revision=revision))
    next(watch)
    grpc_stub.ArchiveBoard(pb.ArchiveBoardRequest(board=board, revision=revision))
    events = next(watch).events
    watch.cancel()
    assert {event.cause for event in events} == {pb.EVENT_CAUSE_ARCHIVE}
    assert {event.WhichOneof("change") for event in events} == {
        "phase_removed",
        "contract_removed",
        "released",
    }


def test_a_board_that_has_changed_since_is_not_emptied(grpc_stub, board):
    revision = fill(grpc_stub, board)
    refused = refusal(
        grpc_stub.ArchiveBoard, pb.ArchiveBoardRequest(board=board, revision=revision - 1)
    )
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.metadata == {"expected": str(revision - 1), "actual": str(revision)}
    assert len(whole_board(grpc_stub, board).phases) == 1


def test_an_empty_board_stays_as_it_is(grpc_stub, board):
    archived = grpc_stub.ArchiveBoard(pb.ArchiveBoardRequest(board=board))
    assert archived == pb.ArchiveBoardResponse()
