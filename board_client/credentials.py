"""Credentials: how a client authenticates itself, and how it verifies the server."""

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

_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"", "0", "false", "f", "no", "n", "off"})
"""Words of BOARD_TLS, as the `board` command takes them."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for a server that requires TLS, a client certificate or a token.

    `tls` encrypts connections and trusts the CAs of the system; `ca` is a PEM file
    with the CAs to trust instead. `cert` and `key` are PEM files of the client's
    certificate. `token` authenticates each call; so does `token_file`, a file that
    has the token and is read for each call. Connections to Unix sockets are not
    encrypted: the mode of the socket's file protects them.
    """

    tls: bool = False
    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    token: str = field(default="", repr=False)
    token_file: FilePath | None = None

    def __post_init__(self) -> None:
        """Convert each file to a Path. Raises TypeError for what is neither text nor a path."""
        arguments.text("token", self.token)
        for name in ("ca", "cert", "key", "token_file"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, Path(arguments.local_path(name, given)))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Credentials":
        """Read BOARD_TLS=1, BOARD_TLS_CA, _CERT and _KEY, BOARD_TOKEN and BOARD_TOKEN_FILE.

        Raises BadCredentials if BOARD_TLS is neither yes nor no.
        """

        def path(name: str) -> Path | None:
            given = environment.get(name)
            return Path(given) if given else None

        return cls(
            tls=_flag("BOARD_TLS", environment),
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
        """Whether calls have a token."""
        return bool(self.token or self.token_file)

    def checked(self, target: str) -> "Credentials":
        """Return these credentials. Raises BadCredentials if they do not fit the target."""
        if (self.cert is None) != (self.key is None):
            raise BadCredentials.unusable(
                "a client certificate needs its key, and a key its certificate",
                "give the other with",
                "key" if self.key is None else "cert",
            )
        if self.token and self.token_file:
            raise BadCredentials.unusable(
                "a token and a token file are given", "give only", "token", "token_file"
            )
        if self.has_token and not self.encrypted and not is_private(target):
            raise BadCredentials.unusable(
                f"a token is not sent unencrypted to {target}", "encrypt with", "tls", "ca"
            )
        self.context()
        self.bearer()()
        return self

    def for_channel(self) -> grpc.ChannelCredentials:
        """Read the files and return gRPC's credentials of a channel. Raises BadCredentials."""
        return grpc.ssl_channel_credentials(
            _bytes("ca", self.ca), _bytes("key", self.key), _bytes("cert", self.cert)
        )

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of `Diagnosis`. Raises BadCredentials."""
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
        """Return a function that returns the metadata with the current token."""
        if self.token_file:
            return _TokenOfFile(Path(self.token_file))
        metadata = _metadata("token", self.token, "the text given") if self.token else ()
        return lambda: metadata


class _TokenOfFile:
    """The metadata with the token in a file, or with its last one while the file has none.

    The file is read for each call: two changes within one tick of the clock may leave
    its time and size equal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metadata: Metadata = ()

    def __call__(self) -> Metadata:
        try:
            self._metadata = self._read()
        except BadCredentials:
            if not self._metadata:
                raise  # after the first read, the file may be absent or half written
        return self._metadata

    def _read(self) -> Metadata:
        try:
            text = content(self._path).decode()
        except OSError as error:
            raise _bad_file("token_file", self._path, error.strerror) from error
        except UnicodeDecodeError as error:
            raise _no_token("token_file", str(self._path)) from error
        return _metadata("token_file", text.strip(), str(self._path))


def _flag(name: str, environment: Mapping[str, str]) -> bool:
    """Read a variable that is yes or no. Refuse other words: a typo must not turn TLS off."""
    word = environment.get(name, "").strip().lower()
    if word in _YES | _NO:
        return word in _YES
    raise BadCredentials.unusable(f'{name} must be 1 or 0 and not "{word}"', "")


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
