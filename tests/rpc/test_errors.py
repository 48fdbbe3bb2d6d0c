"""The error table over the wire: every reason with its code, metadata and details."""

import logging
from datetime import UTC, datetime

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_server import errors
from board_server.errors import Violation
from board_server.model import FileClaim
from board_server.sqlite import SqliteStore
from board_server.wire import statuses
from tests.rpc.service import Refusal, refusal
from tests.support.servers import server_thread

CLAIM = FileClaim("a.go", "p", datetime(2026, 2, 23, tzinfo=UTC))
Code = grpc.StatusCode

TABLE = [
    (
        errors.InvalidArgument([Violation("name", "must not be empty"), Violation("kind", "?")]),
        Code.INVALID_ARGUMENT,
        "INVALID_ARGUMENT",
        {"field": "name"},
        ("name", "kind"),
    ),
    (errors.BoardNotFound("b"), Code.NOT_FOUND, "BOARD_NOT_FOUND", {"board": "b"}, ()),
    (
        errors.FileAlreadyClaimed([CLAIM]),
        Code.ALREADY_EXISTS,
        "FILE_ALREADY_CLAIMED",
        {"filepath": "a.go", "owner": "p"},
        (),
    ),
    (
        errors.StateMismatch("p", "queued", "done"),
        Code.FAILED_PRECONDITION,
        "STATE_MISMATCH",
        {"phase_id": "p", "expected": "queued", "actual": "done"},
        (),
    ),
    (
        errors.SessionExpired("s"),
        Code.FAILED_PRECONDITION,
        "SESSION_EXPIRED",
        {"session_id": "s"},
        (),
    ),
    (
        errors.RevisionCompacted(3, 7),
        Code.OUT_OF_RANGE,
        "REVISION_COMPACTED",
        {"oldest_revision": "7"},
        (),
    ),
    (
        errors.BoardReplaced("id"),
        Code.FAILED_PRECONDITION,
        "BOARD_REPLACED",
        {"board_id": "id"},
        (),
    ),
    (
        errors.RevisionMismatch(3, 4),
        Code.FAILED_PRECONDITION,
        "REVISION_MISMATCH",
        {"expected": "3", "actual": "4"},
        (),
    ),
    (
        errors.WatchTooSlow(9),
        Code.RESOURCE_EXHAUSTED,
        "WATCH_TOO_SLOW",
        {"last_revision": "9"},
        (),
    ),
    (errors.StoreUnavailable("no disk"), Code.UNAVAILABLE, "STORE_UNAVAILABLE", {}, ()),
    (errors.ShuttingDown(), Code.UNAVAILABLE, "SHUTTING_DOWN", {}, ()),
    (errors.StoreFull("no room"), Code.RESOURCE_EXHAUSTED, "STORE_FULL", {}, ()),
    (errors.Unauthenticated("who?"), Code.UNAUTHENTICATED, "UNAUTHENTICATED", {}, ()),
    (errors.PermissionDenied("no"), Code.PERMISSION_DENIED, "PERMISSION_DENIED", {}, ()),
    (
        errors.LimitExceeded("watches", 9),
        Code.RESOURCE_EXHAUSTED,
        "LIMIT_EXCEEDED",
        {"limit": "watches", "maximum": "9"},
        (),
    ),
]


class FailingStore(SqliteStore):
    """A store whose get_file_owner raises `failure`."""

    failure: Exception = AssertionError("the test gives the failure")

    async def get_file_owner(self, board, filepath):  # noqa: ARG002  the Store's arguments
        raise FailingStore.failure


@pytest.fixture(scope="module")
def grpc_server(grpc_directory):
    with server_thread(grpc_directory, board="default", store=FailingStore) as address:
        yield address


@pytest.fixture
def fail(grpc_stub, monkeypatch):
    """A function that makes the store raise an error and returns the error of the call."""

    def call(error: Exception) -> Refusal:
        monkeypatch.setattr(FailingStore, "failure", error)
        return refusal(grpc_stub.GetFileOwner, pb.GetFileOwnerRequest(filepath="a.go"))

    return call


@pytest.mark.parametrize(
    ("error", "code", "reason", "metadata", "fields"), TABLE, ids=[row[2] for row in TABLE]
)
def test_an_error_of_the_board_has_its_code_and_details(
    fail, error, code, reason, metadata, fields
):
    assert fail(error) == Refusal(code, str(error), reason, metadata, fields)


def kinds_of(error: type[Exception]) -> set[type[Exception]]:
    """Return the classes below `error` that have no subclasses: only these are raised.

    Subclasses that a backend defines are not counted; callers see them as their base class.
    """
    below = [kind for kind in error.__subclasses__() if kind.__module__ == errors.__name__]
    return set().union(*map(kinds_of, below)) if below else {error}


def test_the_table_has_every_error_of_the_board():
    assert {type(row[0]) for row in TABLE} == kinds_of(errors.BoardError)
    assert {type(row[0]) for row in TABLE} == set(statuses.TABLE)


def test_every_reason_of_the_proto_is_in_the_table():
    reasons = {name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.keys()}
    assert reasons - {"UNSPECIFIED", "INTERNAL"} == {row[2] for row in TABLE}


def test_an_unexpected_exception_is_internal_and_logged_under_its_id(fail, caplog):
    with caplog.at_level(logging.ERROR):
        found = fail(ZeroDivisionError("secret of the inside"))
    assert (found.code, found.reason) == (Code.INTERNAL, "INTERNAL")
    assert "secret" not in found.text
    assert found.metadata["error_id"] in found.text
    (record,) = caplog.records
    assert found.metadata["error_id"] in record.getMessage()
    assert "GetFileOwner" in record.getMessage()
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_a_long_text_is_cut_and_arrives(fail):
    for letter in "xé字𝄞":
        found = fail(errors.StoreUnavailable(letter * 5000))
        assert found.reason == "STORE_UNAVAILABLE"
        assert found.text.startswith(letter * 20)


def test_a_board_file_that_is_no_database_is_unavailable(grpc_stub, grpc_directory):
    (grpc_directory / "notes.board.db").write_text("no database\n" * 100)
    found = refusal(grpc_stub.ListClaims, pb.ListClaimsRequest(board="notes"))
    assert (found.code, found.reason) == (Code.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert "not a board file" in found.text
