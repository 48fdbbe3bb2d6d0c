"""Certificates, token files and real servers, for the tests of security and operations."""

import dataclasses
import datetime
import ipaddress
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from google.rpc import error_details_pb2, status_pb2

from board_client import Credentials
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.__main__ import open_store
from board_server.announcement import address_in
from board_server.auth import token_file as tokens_file
from board_server.config.schema import Config
from board_server.principal import Role
from board_server.rpc.server import serving
from board_server.sqlite import SqliteStore
from board_server.telemetry.metrics import Metrics, exposed
from tests.support.servers import ANY_PORT, in_thread

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority for tests."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self._cert = _certificate(
            self._name, self._name, self._key.public_key(), self._key, ca=True
        )
        self.ca = directory / f"{name}.pem"
        self.ca.write_bytes(_pem(self._cert))

    def issue(self, *names: str, into: Pair | None = None, days: int = 1, also=()) -> Pair:
        """Issue a certificate for a server on this machine and for a client.

        It has `names` as its common names and, besides localhost, the alternative names
        `also`. It is valid for `days` from now.
        """
        pair = into or Pair(
            self._directory / f"{names[0]}.crt", self._directory / f"{names[0]}.key"
        )
        key = ec.generate_private_key(ec.SECP256R1())
        cert = _certificate(
            _named(*names), self._name, key.public_key(), self._key, days=days, also=also
        )
        # As tools do that rotate certificates: replace one file atomically, then the other.
        _replace(pair.key, _private(key))
        _replace(pair.cert, _pem(cert))
        return pair


def _named(*names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])


def _certificate(subject, issuer, public_key, signer, *, ca=False, days=1, also=()):
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        names = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            *also,
        ]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


class TokenFile:
    """A token file, and the secrets of its tokens, of which the file has only the hashes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.secrets: dict[str, str] = {}
        self._tokens: list[tokens_file.Token] = []
        self._write()

    def add(self, name, role=Role.READER, boards=None, worker="", certificate="") -> str:
        """Add a token or a certificate; return the token's secret, "" for a certificate."""
        secret = "" if certificate else tokens_file.new_secret(name)
        principal = tokens_file.principal_of(name, role.name.lower(), boards, worker)
        digest = tokens_file.digest_of(secret) if secret else None
        shown = tokens_file.certificate_name(certificate) if certificate else None
        self._tokens.append(tokens_file.Token(principal, digest, shown))
        self._write()
        self.secrets[name] = secret
        return secret

    def replace(self, name: str, role=Role.READER, boards=None) -> None:
        """Give the token of this name another role and other boards."""
        (old,) = (each for each in self._tokens if each.principal.name == name)
        principal = tokens_file.principal_of(name, role.name.lower(), boards)
        self._tokens[self._tokens.index(old)] = dataclasses.replace(old, principal=principal)
        self._write()

    def remove(self, name: str) -> None:
        """Remove a token."""
        self._tokens = [each for each in self._tokens if each.principal.name != name]
        self._write()

    def _write(self) -> None:
        tokens_file.write(self.path, tokens_file.Tokens(self._tokens))


@dataclass
class Running:
    """A server that runs in a thread: its addresses, its metrics and its store."""

    addresses: list[str]
    metrics: Metrics
    store: SqliteStore
    metrics_address: str = ""
    tls: Credentials = field(default_factory=Credentials)

    @property
    def address(self) -> str:
        return self.addresses[0]

    def channel(self, *, options=()) -> grpc.Channel:
        """Return a gRPC channel to the first address, without a token."""
        if self.tls.encrypted:
            return grpc.secure_channel(self.address, self.tls.for_channel(), options=options)
        return grpc.insecure_channel(self.address, options=options)


@contextmanager
def running(
    config: Config,
    *,
    expose: bool = False,
    traced=None,
    ca: Path | None = None,
    store: type[SqliteStore] = SqliteStore,
) -> Iterator[Running]:
    """Serve in a thread of this process until the end of the block.

    `expose` serves the metrics too; `ca` is what the channels trust.
    """

    @asynccontextmanager
    async def serve() -> AsyncIterator[Running]:
        metrics = Metrics()
        opened = open_store(config, metrics, store)
        async with AsyncExitStack() as running:
            addresses = await running.enter_async_context(serving(opened, config, metrics, traced))
            where = ""
            if expose:
                where = await running.enter_async_context(exposed(metrics, ANY_PORT))
            yield Running(addresses, metrics, opened, where, Credentials(ca=ca))

    with in_thread(serve) as server:
        yield server


def stub(channel: grpc.Channel) -> BoardServiceStub:
    return BoardServiceStub(channel)


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that carries a token."""
    return (("authorization", f"Bearer {token}"),)


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason in an error's ErrorInfo; "" if it has none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            if any(detail.Unpack(info) for detail in status_pb2.Status.FromString(value).details):
                return info.reason
    return ""


def metadata_of(error: grpc.RpcError) -> dict[str, str]:
    """Return the metadata in an error's ErrorInfo; empty if it has none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            if any(detail.Unpack(info) for detail in status_pb2.Status.FromString(value).details):
                return dict(info.metadata)
    return {}


@dataclass(frozen=True)
class Program:
    """`board serve` in a process of its own, and its addresses."""

    process: subprocess.Popen
    addresses: list[str]
    metrics: str

    @property
    def address(self) -> str:
        return self.addresses[0]

    def memory(self) -> int:
        """Return the resident memory of the process, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


@contextmanager
def program(directory: Path, *arguments: object, log: Path | None = None) -> Iterator[Program]:
    """Run `board serve` with metrics until the end of the block; write its log to `log`."""
    command = [sys.executable, "-m", "board_server", directory, "--metrics-listen", ANY_PORT]
    if "--listen" not in arguments:
        command += ["--listen", ANY_PORT]
    with ExitStack() as files:
        errors = files.enter_context(log.open("w")) if log else None
        process = files.enter_context(
            subprocess.Popen(
                [*map(str, command), *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        )
        try:
            addresses = []
            while address := address_in(line := process.stdout.readline()):
                addresses.append(address)
            assert line.startswith("metrics on "), f"the server did not start: {line!r}"
            yield Program(process, addresses, line.removeprefix("metrics on ").strip())
        finally:
            process.terminate()
            process.wait(timeout=30)
