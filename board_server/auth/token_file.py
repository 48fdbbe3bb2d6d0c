"""The token file: principals, by the hash of a token or the name in a client certificate.

A token is `board.NAME.SECRET`; the file has its SHA-256. The secret is 256 random bits, which
cannot be guessed however fast the hash is; a slow hash, as for passwords, would only slow the
server down.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_server.auth.certificate_names import CertificateName, parse_name
from board_server.files import atomic
from board_server.files.lock import FileLock
from board_server.files.reload import BadFile, content
from board_server.model import is_board_name
from board_server.principal import Principal, Role
from board_server.wire.validation import MAX_ID

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_KEYS = {"name", "hash", "certificate", "role", "boards", "worker"}
_BEARER = "bearer "
_NOBODY = bytes(32)
"""The digest to compare with if there is no such token, so that this takes the same time."""


class BadTokens(BadFile):
    """A token file, or a change to it, that is invalid."""


@dataclass(frozen=True, slots=True)
class Token:
    """One `[[token]]` of the file: a principal, and what it is recognized by."""

    principal: Principal
    digest: bytes | None = None
    certificate: CertificateName | None = None


def digest_of(token: str) -> bytes:
    """Return the hash of a token, which the file keeps."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def new_secret(name: str) -> str:
    """Make a token with this name."""
    return f"board.{name}.{secrets.token_urlsafe(32)}"


class Tokens:
    """The tokens of a file, in which principals are looked up."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        """Index them. Raises BadTokens if two have the same name or certificate."""
        self.tokens = list(tokens)
        self._by_name: dict[str, Token] = {}
        self._by_certificate: dict[CertificateName, Principal] = {}
        self._recognized: dict[str | bytes, Principal] = {}
        for token in self.tokens:
            name, certificate = token.principal.name, token.certificate
            if name in self._by_name:
                raise BadTokens(f'two tokens are named "{name}"')
            if certificate in self._by_certificate:
                raise BadTokens(f'two tokens have the certificate "{certificate}"')
            self._by_name[name] = token
            if certificate:
                self._by_certificate[certificate] = token.principal

    def by_authorization(self, value: str | bytes) -> Principal | None:
        """Return the principal of the metadata `authorization`; None if its token is unknown.

        A valid token is hashed once; for later calls its metadata is found in a dict. Python's
        string hashes have a random key, so the time of a lookup reveals nothing about valid
        tokens. Raises ValueError for metadata that is not a bearer token.
        """
        principal = self._recognized.get(value)
        if principal is None:
            principal = self.by_secret(_secret_in(value))
            if principal:
                self._recognized[value] = principal
        return principal

    def by_secret(self, token: str) -> Principal | None:
        """Return the principal of a token, None if the token is unknown.

        The time does not depend on which part of the token is wrong.
        """
        named = self._by_name.get(token.rpartition(".")[0].removeprefix("board."))
        expected = named.digest if named and named.digest else _NOBODY
        if not hmac.compare_digest(digest_of(token), expected):
            return None
        return named.principal if named else None

    def by_certificate(self, names: Iterable[CertificateName]) -> Principal | None:
        """Return the principal of a certificate with one of these names, None if there is none."""
        return next((self._by_certificate[n] for n in names if n in self._by_certificate), None)


def _secret_in(value: str | bytes) -> str:
    """Return the token in the metadata `authorization`. Raises ValueError."""
    if not isinstance(value, str) or value[: len(_BEARER)].lower() != _BEARER:
        raise ValueError("authorization is no bearer token")
    return value[len(_BEARER) :]


def read(path: Path) -> Tokens:
    """Read a token file. Raises BadFile, which names the file and the token at fault."""
    return parse(path, content(path))


def parse(path: Path, data: bytes) -> Tokens:
    """Parse the contents of a token file. Raises BadTokens, which names the token at fault."""
    try:
        document = tomllib.loads(data.decode())
    except ValueError as error:  # not TOML, or not UTF-8
        raise BadTokens(f"{path}: {error}") from error
    tables = document.pop("token", [])
    if document or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise BadTokens(f"{path}: must have [[token]] tables and nothing else")
    try:
        return Tokens(_token(table) for table in tables)
    except BadTokens as error:
        raise BadTokens(f"{path}: {error}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a token file during a `with` block, from `read` to `write`. Raises BadTokens.

    Waits for a process that has it locked. The lock is on the file `FILE.lock` beside it, which
    is never removed.
    """
    path = path.resolve()  # a symbolic link stays; its target is replaced
    try:
        _refuse_others(path)
        lock = FileLock(path.with_name(f"{path.name}.lock"), wait=True)
    except OSError as error:
        raise BadTokens(f"{error.filename or path}: {error.strerror}") from error
    with lock:
        yield


def _refuse_others(path: Path) -> None:
    """Refuse a file that this user may not change. Raises OSError and BadTokens."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise BadTokens(f"{path} is not a regular file")
    if os.geteuid() not in {0, found.st_uid}:
        try:
            owner = path.owner()
        except KeyError:
            owner = f"user {found.st_uid}"
        raise BadTokens(f"{path} belongs to {owner}; run this as that user, or as root")


def write(path: Path, tokens: Tokens) -> None:
    """Replace the file by these tokens, atomically and durably. Raises BadTokens.

    The file keeps its owner and mode; a new one has mode 0600, and the owner of its directory.
    """
    path = path.resolve()
    try:
        atomic.write(path, "\n".join(_table(token) for token in tokens.tokens).encode())
    except OSError as error:
        raise BadTokens(f"{path}: {error.strerror}") from error


def _token(table: Mapping[str, Any]) -> Token:
    """Make a Token from one table. Raises BadTokens."""
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadTokens(
            f"{name!r} cannot name a token (letters, digits, hyphens and underscores, at most 64)"
        )
    try:
        return _checked(name, table)
    except BadTokens as error:
        raise BadTokens(f'token "{name}": {error}') from error


def _checked(name: str, table: Mapping[str, Any]) -> Token:
    if unknown := table.keys() - _KEYS:
        raise BadTokens(f"there is no key {min(unknown)}")
    for key in ("hash", "certificate", "role", "worker"):
        if not isinstance(table.get(key, "x"), str) or not table.get(key, "x"):
            raise BadTokens(f"{key} must be a text, and not empty; leave it out for none")
    digest, certificate = table.get("hash"), table.get("certificate")
    if not digest and not certificate:
        raise BadTokens("needs a hash or a certificate")
    if digest and not _HASH.fullmatch(digest):
        raise BadTokens("hash must be 64 hexadecimal digits, as `board token create` writes them")
    principal = principal_of(
        name, table.get("role", ""), table.get("boards"), table.get("worker", "")
    )
    return Token(
        principal,
        bytes.fromhex(digest) if digest else None,
        certificate_name(certificate) if certificate else None,
    )


def certificate_name(certificate: str) -> CertificateName:
    """Parse the name of a client certificate. Raises BadTokens."""
    try:
        return parse_name(certificate)
    except ValueError as error:
        raise BadTokens(str(error)) from error


def principal_of(name: str, role: str, boards: object = None, worker: str = "") -> Principal:
    """Make a token's principal from values of the file or the command line. Raises BadTokens."""
    if not _NAME.fullmatch(name):
        raise BadTokens(
            f'"{name}" cannot name a token (letters, digits, hyphens and underscores, at most 64)'
        )
    if role not in {known.name.lower() for known in Role}:
        raise BadTokens(f'role must be reader, worker, dispatcher or admin, not "{role}"')
    if not worker.isprintable() or len(worker.encode()) > MAX_ID:
        raise BadTokens(f"worker must be printable and at most {MAX_ID} bytes")
    if worker and role != "worker":
        raise BadTokens("only the role worker can be bound to a worker")
    return Principal(name, Role[role.upper()], None if boards is None else _boards(boards), worker)


def _boards(names: object) -> frozenset[str]:
    if not isinstance(names, list) or not names:
        raise BadTokens("boards must be a list of names; leave it out for all boards")
    for name in names:
        if not isinstance(name, str) or not is_board_name(name):
            raise BadTokens(f"{name!r} cannot name a board")
    return frozenset(names)


def _table(token: Token) -> str:
    principal = token.principal
    lines = ["[[token]]", f'name = "{principal.name}"', f'role = "{principal.role.name.lower()}"']
    if token.digest:
        lines.append(f'hash = "{token.digest.hex()}"')
    if token.certificate:
        lines.append(f"certificate = {_quoted(str(token.certificate))}")
    if principal.boards is not None:
        lines.append(f"boards = [{', '.join(map(_quoted, sorted(principal.boards)))}]")
    if principal.worker:
        lines.append(f"worker = {_quoted(principal.worker)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Write a TOML string; characters that are not plain are escaped by number."""
    plain = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{plain}"'
