"""The command with a server that requires TLS and tokens: options, and errors of one line."""

import json

import pytest

from board_client import BoardClient
from board_server.config.schema import Config
from board_server.principal import Role
from tests.cli.conftest import COMMAND, run, started
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


def test_a_token_in_a_file_is_accepted(board, tokens, tmp_path):
    file = tmp_path / "token"
    file.write_text(tokens.secrets["dispatcher"])
    assert board("--token-file", file, "phase", "set", "a", "queued").code == 0
    assert board("--token-file", file, "phase", "get", "a").out == "queued\n"


def test_variables_work_as_options_do(address, authority, tokens):
    result = run(
        "boards",
        BOARD_TARGET=address,
        BOARD_TLS_CA=str(authority.ca),
        BOARD_TOKEN=tokens.secrets["reader"],
    )
    assert result.rows[0][0] == "boards"


def test_the_option_token_file_overrides_a_token_in_the_environment(board, tokens, tmp_path):
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
def test_an_unknown_token_is_refused_in_one_line(board, variables, words):
    result = board("boards", **variables)
    assert (result.code, result.out, result.err.count("\n")) == (9, "", 1)
    assert words in result.err


def test_a_role_that_is_too_low_is_refused_with_the_role_it_takes(board, tokens):
    result = board("phase", "set", "a", "queued", BOARD_TOKEN=tokens.secrets["reader"])
    assert result.code == 9
    assert 'the token "reader" has the role reader; this needs worker' in result.err


def test_a_reader_may_read_a_board(board, tokens):
    shown = board("status", BOARD_TOKEN=tokens.secrets["reader"])
    assert shown.code == 0, shown.err
    assert shown.out.startswith("board boards, revision ")


def test_a_token_of_one_board_uses_that_board_if_none_is_named(board, tokens):
    tokens.add("of-one-board", Role.WORKER, boards=["mine"])
    assert board("--board", "mine", "open", BOARD_TOKEN=tokens.secrets["dispatcher"]).code == 0
    claimed = board("claim", "a.go", "--phase", "p", BOARD_TOKEN=tokens.secrets["of-one-board"])
    assert (claimed.code, claimed.out) == (0, "p has 1 file\n"), claimed.err


def test_an_archive_that_is_refused_leaves_no_file(board, tokens, tmp_path):
    file = tmp_path / "archive.jsonl"
    refused = board("archive", file, BOARD_TOKEN=tokens.secrets["dispatcher"])
    assert refused.code == 9
    assert "admin" in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_another_ca_is_not_trusted(address, tmp_path, tokens):
    other = Authority(tmp_path, "another")
    result = run(
        *("--target", address, "--tls-ca", other.ca, "boards"),
        BOARD_TOKEN=tokens.secrets["reader"],
    )
    assert (result.code, result.err.count("\n")) == (9, 1)
    assert f"the certificate of the board at {address} is not trusted" in result.err
    assert result.err.endswith("; give its CA with --tls-ca\n")


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
def test_a_credential_file_that_cannot_be_used_is_bad_input_of_its_option(options, option):
    result = run(*options, "boards")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.endswith(f" with {option}\n")


def test_a_variable_without_a_token_is_named():
    result = run("boards", BOARD_TOKEN="two words")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "BOARD_TOKEN" in result.err
    assert "two words" not in result.err


def test_a_token_is_not_sent_unencrypted():
    result = run("--target", "192.0.2.1:7447", "boards", BOARD_TOKEN="secret")
    assert result.code == 2
    assert result.err.endswith("; encrypt with --tls or --tls-ca\n")


def test_a_server_that_speaks_tls_says_so_to_a_command_that_does_not(address):
    result = run("--target", address, "boards")
    assert result.code == 9
    assert "speaks TLS; encrypt with --tls or --tls-ca" in result.err


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
        result = run(*where, "--tls-cert", client.cert, "--tls-key", client.key, "boards")
        assert result.rows[0][0] == "boards"
        refused = run(*where, "boards")
        assert refused.code == 9
        assert "requires a client certificate; give one with --tls-cert" in refused.err


def test_a_command_that_run_starts_has_its_credentials(board, tokens, tmp_path):
    file = tmp_path / "token"
    file.write_text(tokens.secrets["dispatcher"])
    inner = (COMMAND, "--json", "phase", "get")
    result = board("--token-file", file, "run", "--phase", "inner", "--", *inner)
    assert result.code == 0, result.err
    assert json.loads(result.out)["state"] == "running"


def test_run_says_that_its_token_was_revoked_when_it_loses_its_session(tmp_path, tokens):
    tokens.add("short-lived", Role.WORKER)
    config = Config(directory=tmp_path / "boards", listen=(ANY_PORT,), tokens=tokens.path)
    command = ("run", "--session", "--ttl", "1s", "--", "sh", "-c", "echo ready; exec sleep 600")
    with (
        running(config) as served,
        started(
            "--target", served.address, *command, BOARD_TOKEN=tokens.secrets["short-lived"]
        ) as run_it,
    ):
        assert run_it.stdout.readline() == "ready\n"
        tokens.remove("short-lived")
        _, err = run_it.communicate(timeout=60)
    assert run_it.returncode == 6
    assert "is lost: " in err
    assert "does not know this token" in err
    assert err.endswith("; the command was ended\n")
    assert "queued again" not in err


def test_a_token_is_created_used_and_revoked(tmp_path):
    file = tmp_path / "tokens.toml"
    made = run("token", "create", "--file", file, "--name", "w", "--role", "worker")
    assert made.code == 0, made.err
    config = Config(directory=tmp_path / "boards", listen=(ANY_PORT,), tokens=file)
    with running(config) as served, BoardClient(served.address):
        result = run("--target", served.address, "boards", BOARD_TOKEN=made.out.strip())
        assert result.code == 0, result.err
    assert run("token", "list", "--file", file).out.startswith("w\tworker")
    assert run("token", "revoke", "w", "--file", file).code == 0
    assert run("token", "list", "--file", file).out == ""
