"""The command at a server that wants TLS and tokens: one option each, one clear line if wrong."""

import json

import pytest

from board_client import BoardClient
from board_server.config.schema import Config
from board_server.principal import Role
from tests.cli.conftest import COMMAND, run
from tests.support.secured import ANY_PORT, Authority, TokenFile, running


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    made = TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.toml")
    made.add("dispatcher", Role.DISPATCHER)
    made.add("reader", Role.READER)
    return made


@pytest.fixture(scope="module")
def address(tmp_path_factory, authority, tokens):
    pair = authority.issue("server")
    config = Config(
        directory=tmp_path_factory.mktemp("secured") / "boards",
        listen=(ANY_PORT,),
        tls_cert=pair.cert,
        tls_key=pair.key,
        tokens=tokens.path,
    )
    with running(config, ca=authority.ca) as server:
        yield server.address


@pytest.fixture
def board(address, authority):
    """The command with the address and the CA."""

    def board(*arguments, **variables):
        return run("--target", address, "--tls-ca", authority.ca, *arguments, **variables)

    return board


def test_a_token_in_a_file_lets_in(board, tokens, tmp_path):
    file = tmp_path / "token"
    file.write_text(tokens.secrets["dispatcher"])
    assert board("--token-file", file, "phase", "set", "a", "queued").code == 0
    assert board("--token-file", file, "phase", "get", "a").out == "queued\n"


def test_variables_do_as_well_as_options(address, authority, tokens):
    told = run(
        "boards",
        BOARD_TARGET=address,
        BOARD_TLS_CA=str(authority.ca),
        BOARD_TOKEN=tokens.secrets["reader"],
    )
    assert told.rows[0][0] == "boards"


def test_a_file_of_a_token_goes_before_a_token_in_the_environment(board, tokens, tmp_path):
    file = tmp_path / "token"
    file.write_text(tokens.secrets["reader"])
    assert board("--token-file", file, "boards", BOARD_TOKEN="stale").code == 0


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "asks for a token"),
        ({"BOARD_TOKEN": "no-such-token"}, "does not know this token"),
    ],
)
def test_a_caller_who_is_not_known_is_told_in_one_line(board, variables, words):
    told = board("boards", **variables)
    assert (told.code, told.out, told.err.count("\n")) == (9, "", 1)
    assert words in told.err


def test_a_caller_who_may_not_is_told_what_it_takes(board, tokens):
    told = board("phase", "set", "a", "queued", BOARD_TOKEN=tokens.secrets["reader"])
    assert told.code == 9
    assert 'the token "reader" has the role reader; this needs worker' in told.err


def test_a_reader_sees_how_a_board_stands(board, tokens):
    shown = board("status", BOARD_TOKEN=tokens.secrets["reader"])
    assert shown.code == 0, shown.err
    assert shown.out.startswith("board boards, revision ")


def test_an_archive_that_is_refused_leaves_no_file(board, tokens, tmp_path):
    file = tmp_path / "archive.jsonl"
    refused = board("archive", file, BOARD_TOKEN=tokens.secrets["dispatcher"])
    assert refused.code == 9
    assert "admin" in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_another_ca_is_not_trusted(address, tmp_path, tokens):
    other = Authority(tmp_path, "another")
    told = run(
        *("--target", address, "--tls-ca", other.ca, "boards"),
        BOARD_TOKEN=tokens.secrets["reader"],
    )
    assert (told.code, told.err.count("\n")) == (9, 1)
    assert f"the certificate of the board at {address} is not trusted" in told.err
    assert told.err.endswith("; give its CA with --tls-ca\n")


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (["--tls-ca", "nope"], "--tls-ca"),
        (["--token-file", "nope"], "--token-file"),
        (["--tls-cert", "nope", "--tls-key", "nope"], "--tls-key"),
        (["--tls-cert", "nope"], "--tls-key"),
        (["--tls-key", "nope"], "--tls-cert"),
    ],
)
def test_a_file_of_ours_that_cannot_be_used_is_bad_input_to_an_option(options, option):
    told = run(*options, "boards")
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.endswith(f" with {option}\n")


def test_a_variable_that_holds_no_token_is_named():
    told = run("boards", BOARD_TOKEN="two words")
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "BOARD_TOKEN" in told.err
    assert "two words" not in told.err


def test_a_token_is_not_sent_unencrypted():
    told = run("--target", "192.0.2.1:7447", "boards", BOARD_TOKEN="secret")
    assert told.code == 2
    assert told.err.endswith("; encrypt with --tls or --tls-ca\n")


def test_a_server_that_speaks_tls_says_so_to_a_command_that_does_not(address):
    told = run("--target", address, "boards")
    assert told.code == 9
    assert "speaks TLS; encrypt with --tls or --tls-ca" in told.err


def test_a_client_certificate_is_shown(tmp_path, authority):
    server, client = authority.issue("mutual"), authority.issue("laptop")
    config = Config(
        directory=tmp_path / "boards",
        listen=(ANY_PORT,),
        tls_cert=server.cert,
        tls_key=server.key,
        client_ca=authority.ca,
    )
    with running(config) as served:
        where = ("--target", served.address, "--tls-ca", authority.ca)
        told = run(*where, "--tls-cert", client.cert, "--tls-key", client.key, "boards")
        assert told.rows[0][0] == "boards"
        refused = run(*where, "boards")
        assert refused.code == 9
        assert "asks for a client's certificate; give one with --tls-cert" in refused.err


def test_a_command_that_run_starts_gets_in_too(board, tokens, tmp_path):
    file = tmp_path / "token"
    file.write_text(tokens.secrets["dispatcher"])
    inner = (COMMAND, "--json", "phase", "get")
    told = board("--token-file", file, "run", "--phase", "inner", "--", *inner)
    assert told.code == 0, told.err
    assert json.loads(told.out)["state"] == "running"


def test_a_whole_life_of_a_token(tmp_path):
    file = tmp_path / "tokens.toml"
    made = run("token", "create", "--file", file, "--name", "w", "--role", "worker")
    assert made.code == 0, made.err
    config = Config(directory=tmp_path / "boards", listen=(ANY_PORT,), tokens=file)
    with running(config) as served, BoardClient(served.address):
        told = run("--target", served.address, "boards", BOARD_TOKEN=made.out.strip())
        assert told.code == 0, told.err
    assert run("token", "list", "--file", file).out.startswith("w\tworker")
    assert run("token", "revoke", "w", "--file", file).code == 0
    assert run("token", "list", "--file", file).out == ""
