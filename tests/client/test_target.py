"""Targets: the forms that callers may write; no proxy is used."""

import subprocess
import sys
from pathlib import Path

import pytest

from board_client import AsyncBoardClient, BadCredentials, BoardClient, Credentials, InvalidArgument
from tests.faults.network import Proxy
from tests.support.servers import server_thread


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("127.0.0.1", "127.0.0.1:7447"),
        ("localhost", "localhost:7447"),
        ("board.example", "board.example:7447"),
        ("[::1]", "[::1]:7447"),
        ("::1", "[::1]:7447"),
        ("dns:///board.example", "dns:///board.example:7447"),
        ("ipv4:10.0.0.1,10.0.0.2:9", "ipv4:10.0.0.1:7447,10.0.0.2:9"),
        ("127.0.0.1:9", "127.0.0.1:9"),
        ("[::1]:9", "[::1]:9"),
        ("unix:board.sock", "unix:board.sock"),
        (f"unix:{'x' * 107}", f"unix:{'x' * 107}"),
        (f"unix:{'%20' * 107}", f"unix:{'%20' * 107}"),
        ("unix:///run/board.sock", "unix:///run/board.sock"),
    ],
)
@pytest.mark.parametrize("kind", [BoardClient, AsyncBoardClient])
def test_a_target_without_a_port_means_7447(kind, given, meant):
    assert kind(given).target == meant


@pytest.mark.parametrize(
    "target",
    [
        *("", "unix:", "unix://", "unix-abstract:", ":7447", "host:", "host:port", "host:70000"),
        *("http://127.0.0.1:7447", "a b:1", "a:1,b:2", "[::1", "::1:x"),
        *(f"unix:{'x' * 108}", f"unix:{'%20' * 108}", "unix:" + "é" * 54),
        *("x" * 64 + ".example:7447", f"{'x' * 64}", "a..b:1"),
    ],
)
@pytest.mark.parametrize("kind", [BoardClient, AsyncBoardClient])
def test_a_target_that_is_not_valid_is_refused_by_its_field(kind, target):
    with pytest.raises(InvalidArgument) as caught:
        kind(target)
    assert caught.value.field == "target"
    assert f'"{target}"' in str(caught.value)


@pytest.mark.parametrize("target", ["ipv4:127.0.0.1:1,10.0.0.1:1", "10.0.0.1", "board.example"])
def test_a_token_is_not_sent_unencrypted_to_another_machine(target):
    with pytest.raises(BadCredentials, match="not sent unencrypted"):
        BoardClient(target, credentials=Credentials(token="secret"))


PROXIES = ("http_proxy", "https_proxy", "grpc_proxy")


@pytest.fixture
def elsewhere(tmp_path):
    """Another server, with another board, as the proxy."""
    with server_thread(tmp_path / "elsewhere") as address, Proxy(address) as proxy:
        yield proxy


@pytest.fixture(params=["tcp", "unix"])
def listening(request, tmp_path):
    """A server on this machine."""
    listen = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/socket"
    with server_thread(tmp_path / "boards", board="b", listen=listen) as address:
        yield address


def test_a_proxy_is_never_used(connect, listening, elsewhere, monkeypatch):
    for variable in PROXIES:
        monkeypatch.setenv(variable, f"http://{elsewhere.address}")
    client = connect(listening, "b", credentials=Credentials(token="secret"))
    assert client.get_phase_state("p") == ""
    assert elsewhere.connections == 0


def test_the_command_line_never_uses_a_proxy(listening, elsewhere):
    subprocess.run(
        [Path(sys.executable).with_name("board"), "--target", listening, "boards"],
        env=dict.fromkeys(PROXIES, f"http://{elsewhere.address}") | {"BOARD_TOKEN": "secret"},
        check=True,
        capture_output=True,
    )
    assert elsewhere.connections == 0
