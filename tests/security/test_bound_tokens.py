"""A token that is bound to boards or to a worker is refused for others."""

import grpc
import pytest

from board_client import (
    AsyncBoardClient,
    BoardClient,
    Credentials,
    PermissionDenied,
    SessionExpired,
)
from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.principal import Role
from board_server.wire.methods import ROWS
from tests.security.requests import call, code_of, sample
from tests.support.secured import ANY_PORT, bearer, reason_of, running, stub

MINE, OTHERS, ABSENT = "mine", "others", "absent"
OF_ONE_BOARD = sorted(set(ROWS) - {"ListBoards"})


@pytest.fixture
def server(tmp_path, tokens):
    tokens.add("admin", Role.ADMIN)
    tokens.add("bound", Role.ADMIN, [MINE])
    for worker in ("w1", "w2"):
        tokens.add(worker, Role.WORKER, worker=worker)
    with running(Config(tmp_path / "boards", MINE, (ANY_PORT,), tokens=tokens.path)) as server:
        with BoardClient(
            server.address, credentials=Credentials(token=tokens.secrets["admin"])
        ) as c:
            c.with_options(board=OTHERS).open_board()
        yield server


@pytest.fixture
def client(server, tokens):
    """Make a client with the token of this name."""
    made = []

    def make(name: str, board: str = "") -> BoardClient:
        credentials = Credentials(token=tokens.secrets[name])
        made.append(BoardClient(server.address, board, credentials=credentials))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_token_of_a_board_is_refused_on_others_whether_or_not_they_exist(server, tokens):
    metadata = bearer(tokens.secrets["bound"])
    with server.channel() as channel:
        for method in OF_ONE_BOARD:
            errors = []
            for board in (OTHERS, ABSENT):
                with pytest.raises(grpc.RpcError) as refused:
                    call(stub(channel), method, sample(method, board), metadata)
                errors.append(
                    (refused.value.code(), reason_of(refused.value), refused.value.details())
                )
            assert errors[0] == errors[1], method
            assert errors[0][:2] == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"), method


def test_a_call_with_a_token_of_one_board_may_leave_out_the_name(client):
    client("bound", MINE).set_phase_state("p", "running")
    assert client("bound").get_phase_state("p") == "running"


def test_a_call_with_a_token_of_another_board_than_the_default_must_name_it(server, tokens):
    tokens.add("elsewhere", Role.READER, [OTHERS])
    metadata = bearer(tokens.secrets["elsewhere"])
    with server.channel() as channel:
        request = pb.GetPhaseStateRequest(phase_id="p")
        codes = set()
        while (
            grpc.StatusCode.PERMISSION_DENIED not in codes
        ):  # until the server reads the file again
            codes.add(code_of(stub(channel), "GetPhaseState", request, metadata))
            assert grpc.StatusCode.OK not in codes
        request.board = OTHERS
        assert code_of(stub(channel), "GetPhaseState", request, metadata) is grpc.StatusCode.OK


def test_the_list_of_boards_has_only_those_of_the_token(server, tokens, client):
    admin = client("admin")
    for name in ("aaa", "nnn", "zzz"):
        admin.with_options(board=name).open_board()
    assert [each.name for each in client("bound").list_boards()] == [MINE]
    with server.channel() as channel:
        listed = stub(channel).ListBoards(
            pb.ListBoardsRequest(page_size=1), metadata=bearer(tokens.secrets["bound"])
        )
    assert [each.name for each in listed.boards] == [MINE]
    assert listed.next_page_token == ""


def test_a_bound_worker_may_use_its_own_name(client):
    with client("w1").session("w1") as worker:
        worker.set_phase_state("p", "running", worker="w1")
        worker.set_phase_state("p", "running")
        worker.claim_file("a.go", owner="p")
        worker.renew_session(worker.session_id)
        worker.complete_phase("p", "done")


def test_a_worker_cannot_use_anothers_name(client):
    w1 = client("w1")
    for worker in ("w2", "", None):
        with pytest.raises(PermissionDenied):
            w1.set_phase_state("p", "running", worker=worker)
    for worker in ("w2", ""):
        with pytest.raises(PermissionDenied):
            w1.open_session(worker)
    assert client("admin").get_phase("p") is None


@pytest.mark.parametrize(
    "method",
    sorted(
        method.name
        for method in pb.DESCRIPTOR.services_by_name["BoardService"].methods
        if "session_id" in method.input_type.fields_by_name
    ),
)
def test_a_worker_cannot_use_anothers_session(server, tokens, client, method):
    session = client("w2").open_session("w2")
    fields = {"session_id": session.session_id}
    if "worker" in getattr(pb, f"{method}Request").DESCRIPTOR.fields_by_name:
        fields["worker"] = "w1"
    with server.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        call(stub(channel), method, sample(method, MINE, **fields), bearer(tokens.secrets["w1"]))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert [each.session_id for each in client("admin").list_sessions()] == [session.session_id]


def test_a_worker_gets_session_expired_when_its_own_session_has_ended(client):
    w1 = client("w1")
    session = w1.open_session("w1")
    w1.close_session(session.session_id)
    with pytest.raises(SessionExpired):
        w1.renew_session(session.session_id)


async def test_the_async_client_is_refused_in_the_same_way(server, tokens):
    credentials = Credentials(token=tokens.secrets["w1"])
    async with AsyncBoardClient(server.address, credentials=credentials) as client:
        with pytest.raises(PermissionDenied):
            await client.set_phase_state("p", "running", worker="w2")


def test_an_invalid_board_name_opens_no_board(server, tokens, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    request = sample("ClaimFile", "../../etc", session_id="x")
    with server.channel() as channel:
        code = code_of(stub(channel), "ClaimFile", request, bearer(tokens.secrets["w1"]))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert sorted(tmp_path.rglob("*")) == before
