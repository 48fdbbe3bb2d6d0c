"""Each role may make the calls of its row, through TLS, and no other."""

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.principal import Role
from board_server.wire.methods import ROWS
from tests.security.requests import BOARD, call, code_of, sample
from tests.support.secured import ANY_PORT, TokenFile, bearer, reason_of, running, stub

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["BoardService"].methods]
REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    file = TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.toml")
    for role in Role:
        file.add(role.name.lower(), role)
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory, server_pair, authority, tokens):
    config = Config(
        tmp_path_factory.mktemp("boards"),
        BOARD,
        (ANY_PORT,),
        tls_cert=server_pair.cert,
        tls_key=server_pair.key,
        tokens=tokens.path,
    )
    with running(config, ca=authority.ca) as server, server.channel() as channel:
        yield stub(channel)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_make_the_calls_of_its_row_and_no_other(server, tokens, role, method):
    metadata = bearer(tokens.secrets[role.name.lower()])
    code = code_of(server, method, sample(method), metadata)
    assert (code not in REFUSALS) == (role >= ROWS[method].role)


@pytest.mark.parametrize("method", METHODS)
def test_no_call_succeeds_without_a_token(server, method):
    with pytest.raises(grpc.RpcError) as refused:
        call(server, method, sample(method))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(refused.value) == "UNAUTHENTICATED"


@pytest.mark.parametrize("method", METHODS)
def test_a_call_without_a_token_is_refused_before_its_request_is_checked(server, method):
    stranger = code_of(server, method, sample(method, board="../no board"))
    assert stranger is grpc.StatusCode.UNAUTHENTICATED
