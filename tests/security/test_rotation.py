"""Certificates and tokens change under load, and no call is lost."""

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
from cryptography import x509

from board_client import BoardClient, Credentials, Unauthenticated
from board_server.auth.token_file import digest_of
from board_server.config.schema import Config
from board_server.principal import Role
from tests.support.secured import ANY_PORT, Authority, program, running


class Load:
    """Clients that call without a pause, some on one connection, some on a new one each time."""

    def __init__(self, address, credentials) -> None:
        self.errors: list[Exception] = []
        self.calls = 0
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._address = address
        self._credentials = credentials
        self._threads = [threading.Thread(target=run) for run in (self._steady, self._anew)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, calls: int = 20) -> None:
        """Wait until that many more calls are answered, or one has failed."""
        with self._changed:
            wanted = self.calls + calls
            assert self._changed.wait_for(lambda: self.calls >= wanted or self.errors, 60)

    def _steady(self):
        with BoardClient(self._address, credentials=self._credentials) as client:
            while not self._stop.is_set():
                self._call(client)

    def _anew(self):
        while not self._stop.is_set():
            with BoardClient(self._address, credentials=self._credentials) as client:
                self._call(client)

    def _call(self, client):
        try:
            client.get_phase_state("p")
        except Exception as error:  # with any error the call is lost
            self.errors.append(error)
            self._stop.set()
        with self._changed:
            self.calls += 1
            self._changed.notify_all()


def serial_of(address, authority) -> str:
    """Return the serial number of the certificate that a server uses now."""
    context = Credentials(ca=authority.ca).context()
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        return secured.getpeercert()["serialNumber"]


def test_a_new_certificate_is_used_without_a_restart_and_no_call_fails(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tls_cert=pair.cert, tls_key=pair.key)
    with running(config) as server:
        with Load(server.address, Credentials(ca=authority.ca)) as load:
            seen = {serial_of(server.address, authority)}
            for _ in range(5):
                load.more()
                authority.issue("server", into=pair)  # the key first, then the certificate
                seen.add(serial_of(server.address, authority))
            load.more()
        assert load.errors == []
        assert len(seen) == 6


def test_a_certificate_that_cannot_be_read_keeps_the_last_one_in_use(tmp_path, caplog):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tls_cert=pair.cert, tls_key=pair.key)
    with running(config) as server:
        before = serial_of(server.address, authority)
        pair.cert.write_text("rubbish")
        assert serial_of(server.address, authority) == before
        assert str(pair.cert) in caplog.text
        authority.issue("server", into=pair)
        assert serial_of(server.address, authority) != before


EXCHANGE = """
import os, sys
from itertools import cycle

key, cert, *others = sys.argv[1:]
for content in cycle(zip(others[::2], others[1::2])):
    for ours, theirs in zip((key, cert), content):
        os.link(theirs, ours + ".next")
        os.replace(ours + ".next", ours)
"""


def test_replacing_certificates_during_handshakes_fails_none(tmp_path):
    """Handshakes read the files while the key and then the certificate are replaced."""
    authority = Authority(tmp_path)
    pairs = [authority.issue(name) for name in ("first", "second")]
    pair = authority.issue("server")
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tls_cert=pair.cert, tls_key=pair.key)
    files = [path for each in (pair, *pairs) for path in (each.key, each.cert)]
    with running(config) as server:
        with subprocess.Popen([sys.executable, "-S", "-c", EXCHANGE, *files]) as exchange:
            try:
                for _ in range(15):
                    serial_of(server.address, authority)
            finally:
                exchange.kill()
        authority.issue("server", into=pair)
        (shown,) = {serial_of(server.address, authority) for _ in range(3)}
        assert (
            int(shown, 16) == x509.load_pem_x509_certificate(pair.cert.read_bytes()).serial_number
        )


def test_files_that_become_fifos_block_neither_the_server_nor_its_shutdown(tmp_path, tokens):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    secret = tokens.add("reader")
    files = {"--tls-cert": pair.cert, "--tls-key": pair.key, "--tokens": tokens.path}
    arguments = [each for flag_and_file in files.items() for each in flag_and_file]
    credentials = Credentials(ca=authority.ca, token=secret)
    with program(tmp_path / "b", *arguments, log=tmp_path / "log") as server:
        for file in files.values():
            file.unlink()
            os.mkfifo(file)
        log = tmp_path / "log"
        while log.read_text().count("is not a regular file") < 2:  # of the pair, and of the tokens
            with BoardClient(server.address, credentials=credentials, timeout=20) as client:
                assert client.get_phase_state("p") == ""
        server.process.terminate()
        assert server.process.wait(timeout=20) == 0


def test_a_new_certificate_that_has_expired_is_warned_of(tmp_path, caplog):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tls_cert=pair.cert, tls_key=pair.key)
    with running(config) as server:
        serial_of(server.address, authority)
        assert "expired" not in caplog.text
        authority.issue("server", into=pair, days=-1)
        with pytest.raises(ssl.SSLCertVerificationError):
            serial_of(server.address, authority)
    assert f"{pair.cert}: the certificate expired at " in caplog.text


def test_a_new_client_ca_is_used_without_a_restart(tmp_path):
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    pair, client = first.issue("server"), second.issue("client")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(first.ca.read_bytes())
    config = Config(
        tmp_path / "b",
        listen=(ANY_PORT,),
        tls_cert=pair.cert,
        tls_key=pair.key,
        client_ca=trusted,
    )
    credentials = Credentials(ca=first.ca, cert=client.cert, key=client.key)
    with running(config) as server:
        both = first.ca.read_bytes() + second.ca.read_bytes()
        trusted.write_bytes(both)
        with BoardClient(server.address, credentials=credentials) as board:
            assert board.get_phase_state("p") == ""


def until_refused(client):
    """Call until the server has read the changed file."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            client.get_phase_state("p")
        except Unauthenticated:
            return
    pytest.fail("the token still works")


def test_tokens_are_replaced_and_no_call_fails(tmp_path, tokens):
    file = tmp_path / "token"
    file.write_text(tokens.add("first", Role.READER))
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tokens=tokens.path)
    with running(config) as server, ExitStack() as clients:
        old = clients.enter_context(
            BoardClient(server.address, credentials=Credentials(token=tokens.secrets["first"]))
        )
        with Load(server.address, Credentials(token_file=file)) as load:
            load.more()
            secret = tokens.add("second", Role.READER)
            new = clients.enter_context(
                BoardClient(server.address, credentials=Credentials(token=secret))
            )
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:  # until the server has read it
                try:
                    new.get_phase_state("p")
                except Unauthenticated:
                    continue
                break
            beside = file.with_suffix(".new")
            beside.write_text(secret)
            beside.replace(file)
            load.more()
            tokens.remove("first")
            until_refused(old)
            load.more()
        assert load.errors == []


def test_a_token_that_is_revoked_within_a_tick_of_the_clock_is_refused(tmp_path, tokens):
    """The file keeps its size, its inode number and the time of its last change."""
    tokens.add("reader")
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tokens=tokens.path)
    credentials = Credentials(token=tokens.secrets["reader"])
    with (
        running(config) as server,
        BoardClient(server.address, credentials=credentials) as client,
    ):
        client.get_phase_state("p")
        before = tokens.path.stat()
        old = digest_of(tokens.secrets["reader"]).hex()
        tokens.path.write_text(tokens.path.read_text().replace(old, "0" * 64))
        os.utime(tokens.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        until_refused(client)


def test_a_token_file_that_cannot_be_read_keeps_the_last_tokens_in_use(tmp_path, tokens, caplog):
    secret = tokens.add("reader", Role.READER)
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tokens=tokens.path)
    with (
        running(config) as server,
        BoardClient(server.address, credentials=Credentials(token=secret)) as client,
    ):
        client.get_phase_state("p")
        tokens.path.write_text("[[token]]\nname = 7\n")
        deadline = time.monotonic() + 30
        while str(tokens.path) not in caplog.text and time.monotonic() < deadline:
            client.get_phase_state("p")
        assert "its last usable contents stay in effect" in caplog.text
        tokens.remove("reader")
        until_refused(client)


def test_a_client_whose_credential_files_were_deleted_keeps_its_connection(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    config = Config(tmp_path / "b", listen=(ANY_PORT,), tls_cert=pair.cert, tls_key=pair.key)
    with (
        running(config) as server,
        BoardClient(server.address, credentials=Credentials(ca=authority.ca)) as client,
    ):
        assert client.list_claims() == []
        authority.ca.unlink()
        client._transport.connection.switch(0)  # as a session without answers to its renewals does
        assert client.list_claims() == []
