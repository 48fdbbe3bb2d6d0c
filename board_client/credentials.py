"""Credentials: what a client shows a server, and by what it knows the server."""

import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from board_client.errors import BadCredentials

Metadata = tuple[tuple[str, str], ...]

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to reach a server that is not open to everybody on this machine.

    `tls` encrypts, and trusts the CAs that the system trusts; `ca` is a PEM file
    of those to trust instead. `cert` and `key` are PEM files, for servers that
    ask for a client's certificate. A `token`, or a `token_file` that holds one
    and is read again when it changes, says who calls. Unix sockets are not
    encrypted: the file's mode guards them.
    """

    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Credentials":
        """Take them from BOARD_TLS=1, BOARD_TLS_CA, _CERT, _KEY, BOARD_TOKEN, BOARD_TOKEN_FILE."""

        def path(name: str) -> Path | None:
            given = environment.get(name)
            return Path(given) if given else None

        return cls(
            tls=environment.get("BOARD_TLS", "").lower() in {"1", "true", "yes", "on"},
            ca=path("BOARD_TLS_CA"),
            cert=path("BOARD_TLS_CERT"),
            key=path("BOARD_TLS_KEY"),
            token=environment.get("BOARD_TOKEN", ""),
            token_file=path("BOARD_TOKEN_FILE"),
        )

    @property
    def encrypted(self) -> bool:
        """Whether connections over TCP use TLS."""
        return self.tls or self.ca is not None or self.cert is not None

    def checked(self, target: str) -> "Credentials":
        """Return them, if they can be used for this target. Raises BadCredentials."""
        if (self.cert is None) != (self.key is None):
            raise BadCredentials.of("a client certificate and its key go together")
        if self.token and self.token_file:
            raise BadCredentials.of("give a token or a token file, not both")
        if (self.token or self.token_file) and not self.encrypted and not is_private(target):
            raise BadCredentials.of(
                f"a token is not sent unencrypted to {target}: encrypt with --tls or --tls-ca"
            )
        self.context()
        self.bearer()()
        return self

    def for_channel(self) -> grpc.ChannelCredentials:
        """Read the files, and make what a TLS channel needs. Raises BadCredentials."""
        return grpc.ssl_channel_credentials(*map(_bytes, (self.ca, self.key, self.cert)))

    def context(self) -> ssl.SSLContext:
        """Make the same for Python's own TLS, which says what is wrong. Raises BadCredentials."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2"])
        if self.ca:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.set_alpn_protocols(["h2"])
            _load(self.ca, lambda: context.load_verify_locations(self.ca))
        if self.cert and self.key:
            _bytes(self.key)
            _load(self.cert, lambda: context.load_cert_chain(self.cert or "", self.key))
        return context

    def bearer(self) -> Callable[[], Metadata]:
        """Return a function that gives the metadata with the token, as it now is."""
        if self.token_file:
            return _Reread(self.token_file)
        metadata = _metadata(self.token, "the token") if self.token else ()
        return lambda: metadata


def is_private(target: str) -> bool:
    """Tell whether a target is sure to be on this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = address_of(target)[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_of(target: str) -> tuple[str, int]:
    """Return a target's host and port: those of `HOST:PORT`, `dns:///HOST:PORT`, `ipv4:…`."""
    bare = re.sub(r"^(?:dns:(?://[^/]*/)?|ipv[46]:)", "", target)
    host, _, port = bare.rpartition(":")
    return (host or bare).strip("[]"), int(port) if port.isdecimal() else 443


class _Reread:
    """The metadata of a token that is in a file; the last one stands while there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._metadata: Metadata = ()

    def __call__(self) -> Metadata:
        try:
            found = self._path.stat()
            seen = found.st_mtime_ns, found.st_ino
            if seen != self._seen:
                self._metadata = self._read()
                self._seen = seen
        except OSError as error:
            if self._seen is None:
                raise BadCredentials.of(f"{self._path}: {error.strerror}") from error
        except BadCredentials:
            if self._seen is None:
                raise  # later it may be half written
        return self._metadata

    def _read(self) -> Metadata:
        try:
            text = self._path.read_text()
        except UnicodeDecodeError as error:
            raise BadCredentials.of(f"{self._path} holds no token") from error
        return _metadata(text.strip(), str(self._path))


def _metadata(token: str, where: str) -> Metadata:
    if not _TOKEN.fullmatch(token):
        raise BadCredentials.of(f"{where} holds no token")
    return (("authorization", f"Bearer {token}"),)


def _bytes(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise BadCredentials.of(f"{path}: {error.strerror}") from error


def _load(path: Path, load: Callable[[], None]) -> None:
    _bytes(path)
    try:
        load()
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or "it is empty"
        raise BadCredentials.of(f"{path} cannot be used: {reason}") from error
