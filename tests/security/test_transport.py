"""Which clients can connect: TLS, mutual TLS, Unix sockets, several listeners."""

import socket
import stat
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from board_client import (
    AsyncBoardClient,
    BadCredentials,
    BoardClient,
    Credentials,
    PermissionDenied,
    Unauthenticated,
)
from board_server.config.schema import BadConfig, Config
from board_server.files.reload import BadFile
from board_server.principal import Role
from board_server.rpc.tls import Validity
from tests.support.secured import ANY_PORT, Authority, bearer, running

KINDS = [BoardClient, AsyncBoardClient]


async def boards(kind, address, credentials=None, seconds=10):
    """Return the boards that a client lists, synchronous or asynchronous."""
    if kind is BoardClient:
        with BoardClient(address, credentials=credentials, timeout=seconds) as client:
            return [each.name for each in client.list_boards()]
    async with AsyncBoardClient(address, credentials=credentials, timeout=seconds) as client:
        return [each.name for each in await client.list_boards()]


@pytest.fixture
def config(tmp_path, server_pair):
    """Make the Config of a server with TLS."""

    def make(**settings) -> Config:
        return Config(
            **{
                "directory": tmp_path / "boards",
                "listen": (ANY_PORT,),
                "tls_cert": server_pair.cert,
                "tls_key": server_pair.key,
            }
            | settings
        )

    return make


@pytest.mark.parametrize("kind", KINDS)
async def test_each_listener_accepts_each_credential(kind, config, authority, tokens, tmp_path):
    secret = tokens.add("reader", Role.READER)
    token_file = tmp_path / "token"
    token_file.write_text(f"{secret}\n")
    socket = f"unix:{tmp_path}/board.sock"
    listen = (ANY_PORT, "localhost:0", socket)
    with running(config(listen=listen, tokens=tokens.path)) as server:
        for address in server.addresses:
            for shown in ({"token": secret}, {"token_file": token_file}):
                credentials = Credentials(ca=authority.ca, **shown)
                assert await boards(kind, address, credentials) == ["boards"]
            with pytest.raises(Unauthenticated):
                await boards(kind, address, Credentials(ca=authority.ca))
        assert await boards(kind, socket, Credentials(token=secret)) == ["boards"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_certificate_is_requested_and_accepted_instead_of_a_token(
    kind, config, authority, tokens
):
    tokens.add("by-certificate", Role.READER, certificate="worker-7")
    listed, unlisted = authority.issue("worker-7"), authority.issue("worker-8")
    settings = config(client_ca=authority.ca, tokens=tokens.path)
    with running(settings) as server:
        known = Credentials(ca=authority.ca, cert=listed.cert, key=listed.key)
        assert await boards(kind, server.address, known) == ["boards"]
        unknown = Credentials(ca=authority.ca, cert=unlisted.cert, key=unlisted.key)
        with pytest.raises(Unauthenticated):
            await boards(kind, server.address, unknown)
        with pytest.raises(BadCredentials, match="requires a client certificate"):
            await boards(kind, server.address, Credentials(ca=authority.ca))


def test_files_are_read_as_tools_write_them(config, authority, server_pair, tmp_path):
    """The certificate and its key in one file, a chain, comments, Windows line ends."""
    cert, key, ca = (f.read_bytes() for f in (server_pair.cert, server_pair.key, authority.ca))
    both, trusted = tmp_path / "both.pem", tmp_path / "trusted.pem"
    trusted.write_bytes("# Főtanúsítvány\n".encode() + ca)
    pair = authority.issue("anybody")
    credentials = Credentials(ca=authority.ca, cert=pair.cert, key=pair.key)
    for content in (cert + key, key + cert, cert + ca + key, (cert + key).replace(b"\n", b"\r\n")):
        both.write_bytes(content)
        with (
            running(config(tls_cert=both, tls_key=both, client_ca=trusted)) as server,
            BoardClient(server.address, credentials=credentials) as client,
        ):
            assert client.get_phase_state("p") == ""


def test_a_certificate_has_the_role_of_its_token(config, authority, tokens):
    tokens.add("by-certificate", Role.READER, certificate="reader-1")
    pair = authority.issue("reader-1")
    credentials = Credentials(ca=authority.ca, cert=pair.cert, key=pair.key)
    settings = config(client_ca=authority.ca, tokens=tokens.path)
    with (
        running(settings) as server,
        BoardClient(server.address, credentials=credentials) as client,
        pytest.raises(PermissionDenied),
    ):
        client.set_phase_state("p", "running")


def test_without_a_file_of_tokens_a_certificate_of_the_ca_is_enough(config, authority):
    pair = authority.issue("somebody")
    credentials = Credentials(ca=authority.ca, cert=pair.cert, key=pair.key)
    with (
        running(config(client_ca=authority.ca)) as server,
        BoardClient(server.address, credentials=credentials) as client,
    ):
        client.set_phase_state("p", "running")


def test_a_failure_of_tls_is_one_clear_line(config, authority, tmp_path):
    elsewhere = Authority(tmp_path, "elsewhere")
    foreign = elsewhere.issue("stranger")
    own = authority.issue("friend")

    def error_at(address, **shown):
        with (
            BoardClient(address, credentials=Credentials(**shown), timeout=30) as client,
            pytest.raises(BadCredentials) as error,
        ):
            client.list_boards()
        assert "\n" not in str(error.value)
        assert address in str(error.value)
        return str(error.value)

    with running(config(client_ca=authority.ca)) as server:
        known = {"cert": own.cert, "key": own.key}
        assert "not trusted" in error_at(server.address, ca=elsewhere.ca, **known)
        assert "not trusted" in error_at(server.address, tls=True, **known)
        assert "speaks TLS" in error_at(server.address)
        refused = error_at(server.address, ca=authority.ca, cert=foreign.cert, key=foreign.key)
        assert f"refuses the certificate {foreign.cert}" in refused
    with running(Config(tmp_path / "plain", listen=(ANY_PORT,))) as server:
        assert "does not speak TLS" in error_at(server.address, ca=authority.ca)


async def test_the_async_client_has_the_same_error(config, tmp_path):
    elsewhere = Authority(tmp_path, "elsewhere")
    advice = r"not trusted: .*; give its CA with Credentials\(ca=\.\.\.\)"
    with running(config()) as server, pytest.raises(BadCredentials, match=advice):
        await boards(AsyncBoardClient, server.address, Credentials(ca=elsewhere.ca), seconds=30)


def test_a_certificate_for_another_name_is_not_trusted(config, authority):
    with running(config(listen=("127.0.0.2:0",))) as server:
        credentials = Credentials(ca=authority.ca)
        with (
            BoardClient(server.address, credentials=credentials, timeout=20) as client,
            pytest.raises(BadCredentials, match=r"not trusted.*127\.0\.0\.2") as error,
        ):
            client.list_boards()
        assert error.value.fields == ()  # another CA would not help


def test_a_token_is_not_sent_unencrypted_to_another_machine():
    for kind in KINDS:
        with pytest.raises(BadCredentials, match=r"unencrypted.*Credentials\(tls=True\)"):
            kind("192.0.2.1:7447", credentials=Credentials(token="t"))


@pytest.mark.parametrize(
    "shown",
    [
        {"ca": Path("/nonexistent/ca.pem")},
        {"cert": Path("/nonexistent/cert.pem")},
        {"cert": Path("/nonexistent/cert.pem"), "key": Path("/nonexistent/key.pem")},
        {"token_file": Path("/nonexistent/token")},
        {"token": "two words"},
        {"token": "a", "token_file": Path("/nonexistent/token")},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_credentials_that_cannot_be_used_are_refused_before_anything_is_sent(kind, shown):
    with pytest.raises(BadCredentials) as error:
        kind(credentials=Credentials(**shown))
    assert "\n" not in str(error.value)


def test_a_token_is_in_no_repr():
    assert "secret" not in repr(Credentials(token="secret"))


def test_credentials_come_from_the_environment():
    given = {
        "BOARD_TLS": "1",
        "BOARD_TLS_CA": "ca",
        "BOARD_TLS_CERT": "cert",
        "BOARD_TLS_KEY": "key",
        "BOARD_TOKEN": "token",
        "BOARD_TOKEN_FILE": "file",
    }
    assert Credentials.from_environment(given) == Credentials(
        True, Path("ca"), Path("cert"), Path("key"), "token", Path("file")
    )
    assert Credentials.from_environment({}) == Credentials()


def test_only_the_owner_of_a_unix_socket_may_connect(tmp_path):
    path = tmp_path / "board.sock"
    with running(Config(tmp_path / "boards", listen=(f"unix:{path}",))) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with BoardClient(server.address) as client:
            assert [each.name for each in client.list_boards()] == ["boards"]


@pytest.mark.parametrize("path", ["", "\0", "\0board", "%00", "%00board", "/run/board\0"])
def test_an_abstract_socket_is_refused_because_it_has_no_permissions(tmp_path, path):
    with pytest.raises(BadConfig, match="empty" if not path else "NUL"):
        Config(tmp_path, listen=(ANY_PORT, f"unix:{path}"))


@pytest.mark.parametrize(
    "address",
    [
        *("unix-abstract:7447", "unix-abstract:board:7447", "UNIX-ABSTRACT:7447", "vsock:1"),
        *("vsock:-1:7447", "ipv4:127.0.0.1:7447", "dns:///localhost:7447", "unix"),
        *("::1:7447", "[127.0.0.1]:7447", "[]:7447", "[::1]", "[::1]7447", "local host:7447"),
        *(":7447", "*:7447", "localhost:", "localhost:65536", "localhost:+1", "localhost:1_0"),
        *("localhost:\u0667", "localhost:" + "1" * 5000, "localhost%00:7447", "localhost:1\n"),
    ],
)
@pytest.mark.parametrize("setting", ["listen", "metrics_listen"])
def test_an_address_that_is_neither_host_and_port_nor_a_path_is_refused(tmp_path, address, setting):
    given = (address,) if setting == "listen" else address
    with pytest.raises(BadConfig, match="HOST:PORT"):
        Config(tmp_path, **{setting: given}, insecure=True)


@pytest.mark.parametrize("address", ["unix://run/board.sock", "unix:/run/a?b", "unix:/run/a#b"])
def test_a_socket_path_that_clients_parse_differently_is_refused(tmp_path, address):
    with pytest.raises(BadConfig, match=r"no host|%3F"):
        Config(tmp_path, listen=(address,))


@pytest.mark.parametrize("address", ["[::1]:0", "localhost:0", "127.0.0.1:0"])
def test_each_form_of_an_address_of_this_machine_is_listened_on(tmp_path, address):
    if address.startswith("["):
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6")
    config = Config(tmp_path / "boards", listen=(address,))
    with running(config) as server, BoardClient(server.address) as client:
        assert server.address.startswith(address.removesuffix("0"))
        assert [each.name for each in client.list_boards()] == ["boards"]


def test_each_way_to_write_the_path_of_a_socket_leads_to_the_same_file(tmp_path):
    path = tmp_path / "a ? b.sock"
    for address in (f"unix:{tmp_path}/a%20%3F%20b.sock", f"unix://{tmp_path}/a %3F b.sock"):
        with running(Config(tmp_path / "boards", listen=(address,))):
            assert path.is_socket()
            with BoardClient(f"unix:{tmp_path}/a%20%3F%20b.sock") as client:
                assert [each.name for each in client.list_boards()] == ["boards"]


def test_public_addresses_need_encryption_or_an_explicit_setting(server_pair, tmp_path):
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:7447", "board.example:7447"):
        with pytest.raises(BadConfig, match="--insecure"):
            Config(tmp_path, listen=(ANY_PORT, address))
        Config(tmp_path, listen=(address,), insecure=True)
        Config(tmp_path, listen=(address,), tls_cert=server_pair.cert, tls_key=server_pair.key)
    with pytest.raises(BadConfig, match="--insecure"):
        Config(
            tmp_path,
            metrics_listen="0.0.0.0:0",
            tls_cert=server_pair.cert,
            tls_key=server_pair.key,
        )


@pytest.mark.parametrize("broken", ["tls_cert", "tls_key", "client_ca", "tokens"])
def test_files_that_cannot_be_used_prevent_the_start_and_are_named(
    config, authority, tokens, tmp_path, broken
):
    for number, content in enumerate((None, "", "rubbish", authority.ca.read_text()[:100])):
        file = tmp_path / f"broken-{number}"
        if content is not None:
            file.write_text(content)
        if broken == "tokens" and content == "":
            continue  # a file without a token admits no caller, and the log says so
        settings = {"client_ca": authority.ca, "tokens": tokens.path} | {broken: file}
        with pytest.raises(BadFile, match=str(file)) as error, running(config(**settings)):
            pass
        assert "\n" not in str(error.value)


def test_the_error_says_that_a_certificate_and_its_key_are_swapped(config, server_pair):
    swapped = config(tls_cert=server_pair.key, tls_key=server_pair.cert)
    with pytest.raises(BadFile) as error, running(swapped):
        pass
    assert str(error.value) == (
        f"{server_pair.key} holds no certificate in PEM; are --tls-cert and --tls-key swapped?"
    )


def test_a_file_without_the_expected_certificate_or_key_is_reported(config, server_pair):
    wrong = {
        f"{server_pair.key} holds no certificate in PEM": {"client_ca": server_pair.key},
        f"{server_pair.cert} holds no private key in PEM": {"tls_key": server_pair.cert},
    }
    for message, settings in wrong.items():
        with pytest.raises(BadFile) as error, running(config(**settings)):
            pass
        assert str(error.value) == message


def test_a_certificate_that_has_expired_is_warned_of(config, authority, caplog):
    pair = authority.issue("expired", days=-1)
    with running(config(tls_cert=pair.cert, tls_key=pair.key)):
        assert f"{pair.cert}: the certificate expired at " in caplog.text


def test_a_certificate_that_is_valid_is_not_warned_of(config, caplog):
    with running(config()):
        pass
    assert "the certificate" not in caplog.text


@pytest.mark.parametrize(
    ("begins", "ends", "warns"),
    [
        (1, 90, "is not valid before 1970-01-02 00:00:00 UTC"),
        (-90, -1, "expired at 1969-12-31 00:00:00 UTC"),
        (-84, 6, "expires at 1970-01-07 00:00:00 UTC"),
        (-82, 8, ""),
        (-1, 1, ""),  # valid for two days, so renewed on the second
        (-1.8, 0.2, "expires at 1970-01-01 04:48:00 UTC"),
    ],
)
def test_the_log_warns_before_a_certificate_expires(begins, ends, warns):
    day = 24 * 3600
    warning = Validity(begins * day, ends * day).warning(now=0)
    assert warning.startswith(f"the certificate {warns}") if warns else warning == ""


def test_a_file_without_a_token_is_warned_of(tmp_path, tokens, caplog):
    with running(Config(tmp_path / "boards", listen=(ANY_PORT,), tokens=tokens.path)):
        assert f"{tokens.path} has no token in it" in caplog.text


def test_certificates_in_the_token_file_without_a_client_ca_are_warned_of(
    config, authority, tokens, caplog
):
    tokens.add("by-certificate", certificate="laptop-3")
    with running(config(client_ca=authority.ca, tokens=tokens.path)):
        assert "require client certificates" not in caplog.text
    with running(config(tokens=tokens.path)):
        assert (
            "tokens by-certificate require client certificates, but --client-ca is not set"
            in caplog.text
        )


def test_a_certificate_with_the_wrong_key_prevents_the_start(config, authority):
    other = authority.issue("other")
    with pytest.raises(BadFile, match=str(other.key)), running(config(tls_key=other.key)):
        pass


def test_health_is_open_and_reflection_is_not(config, authority, tokens):
    secret = tokens.add("reader", Role.READER)
    with (
        running(config(tokens=tokens.path), ca=authority.ca) as server,
        server.channel() as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(service="board.v1.BoardService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        info = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as refused:
            next(info(iter([question])))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        answer = next(info(iter([question]), metadata=bearer(secret)))
        assert "board.v1.BoardService" in {s.name for s in answer.list_services_response.service}
