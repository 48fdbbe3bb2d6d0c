"""Credentials: what a client shows a server, and by what it knows the server."""

import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from board_client import arguments
from board_client.arguments import FilePath
from board_client.errors import BadCredentials
from board_client.regular_file import content
from board_client.target import is_private

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
    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    token: str = field(default="", repr=False)
    token_file: FilePath | None = None

    def __post_init__(self) -> None:
        """Make each file a Path. Raises TypeError for what can be none."""
        arguments.text("token", self.token)
        for name in ("ca", "cert", "key", "token_file"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, Path(arguments.local_path(name, given)))

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

    @property
    def has_token(self) -> bool:
        """Whether calls bear a token."""
        return bool(self.token or self.token_file)

    def checked(self, target: str) -> "Credentials":
        """Return them, if they can be used for this target. Raises BadCredentials."""
        if (self.cert is None) != (self.key is None):
            raise BadCredentials.unusable(
                "a client certificate and its key go together",
                "give the other with",
                "key" if self.key is None else "cert",
            )
        if self.token and self.token_file:
            raise BadCredentials.unusable(
                "there are a token and a file of a token", "give only", "token", "token_file"
            )
        if self.has_token and not self.encrypted and not is_private(target):
            raise BadCredentials.unusable(
                f"a token is not sent unencrypted to {target}", "encrypt with", "tls", "ca"
            )
        self.context()
        self.bearer()()
        return self

    def for_channel(self) -> grpc.ChannelCredentials:
        """Read the files, and make what a TLS channel needs. Raises BadCredentials."""
        return grpc.ssl_channel_credentials(
            _bytes("ca", self.ca), _bytes("key", self.key), _bytes("cert", self.cert)
        )

    def context(self) -> ssl.SSLContext:
        """Make the same for Python's own TLS, which says what is wrong. Raises BadCredentials."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["h2"])
        if self.ca:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.set_alpn_protocols(["h2"])
            _load("ca", self.ca, lambda: context.load_verify_locations(self.ca))
        if self.cert and self.key:
            _bytes("key", self.key)
            _load("cert", self.cert, lambda: context.load_cert_chain(self.cert or "", self.key))
        return context

    def bearer(self) -> Callable[[], Metadata]:
        """Return a function that gives the metadata with the token, as it now is."""
        if self.token_file:
            return _Reread(Path(self.token_file))
        metadata = _metadata("token", self.token, "the text given") if self.token else ()
        return lambda: metadata


class _Reread:
    """The metadata of a token that is in a file; the last one stands while there is none.

    The file is read for each call: two changes within one tick of the clock leave a
    file whose time and size are those that were seen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metadata: Metadata = ()

    def __call__(self) -> Metadata:
        try:
            self._metadata = self._read()
        except BadCredentials:
            if not self._metadata:
                raise  # later it may be gone, or half written
        return self._metadata

    def _read(self) -> Metadata:
        try:
            text = content(self._path).decode()
        except OSError as error:
            raise _bad_file("token_file", self._path, error.strerror) from error
        except UnicodeDecodeError as error:
            raise _no_token("token_file", str(self._path)) from error
        return _metadata("token_file", text.strip(), str(self._path))


def _metadata(name: str, token: str, where: str) -> Metadata:
    if not _TOKEN.fullmatch(token):
        raise _no_token(name, where)
    return (("authorization", f"Bearer {token}"),)


def _bytes(name: str, path: FilePath | None) -> bytes | None:
    try:
        return content(Path(path)) if path else None
    except OSError as error:
        raise _bad_file(name, path, error.strerror) from error


def _load(name: str, path: FilePath, load: Callable[[], None]) -> None:
    _bytes(name, path)
    try:
        load()
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or "it is empty"
        raise _bad_file(name, path, f"cannot be used: {reason}") from error


def _bad_file(name: str, path: FilePath | None, why: str | None) -> BadCredentials:
    return BadCredentials.unusable(f"{path}: {why}", "give another file with", name)


def _no_token(name: str, where: str) -> BadCredentials:
    return BadCredentials.unusable(f"{where} holds no token", "give one with", name)
