"""Page tokens: opaque to clients, and valid only for the list that they came from."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from hashlib import blake2b

Cursor = tuple[str | int, ...]

MAX_TOKEN = 8192
"""Most characters of a token; one after the longest path that may be claimed has 5,480."""

_DIGEST_SIZE = 8

_NUMBER = struct.Struct(">q")  # as SQLite has them
_LENGTH = struct.Struct(">I")


def encode(scope: bytes, cursor: Cursor | None) -> str:
    """Make the token of the page after `cursor`; "" at the end. `scope` identifies the list."""
    if cursor is None:
        return ""
    payload = b"".join(map(_packed, cursor))
    return urlsafe_b64encode(_digest(scope, payload) + payload).decode()


def decode(scope: bytes, token: str, shape: tuple[type, ...]) -> Cursor | None:
    """Read a token's cursor, None for "". Raises ValueError if `encode` did not make the token."""
    if not token:
        return None
    if len(token) > MAX_TOKEN:
        raise ValueError("the token is too long")
    raw = urlsafe_b64decode(token.encode())
    digest, payload = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
    if digest != _digest(scope, payload):
        raise ValueError("the token is not of this list")
    cursor = tuple(_unpacked(payload, shape))
    if encode(scope, cursor) != token:
        raise ValueError("the token has more in it than a cursor")
    return cursor


def _packed(value: str | int) -> bytes:
    if isinstance(value, int):
        return _NUMBER.pack(value)
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _unpacked(payload: bytes, shape: tuple[type, ...]) -> Iterator[str | int]:
    """Read values of these types. Raises ValueError if the payload is too short."""
    try:
        for kind in shape:
            if kind is int:
                (number,) = _NUMBER.unpack_from(payload)
                payload = payload[_NUMBER.size :]
                yield number
            else:
                (length,) = _LENGTH.unpack_from(payload)
                payload = payload[_LENGTH.size :]
                yield payload[:length].decode()
                payload = payload[length:]
    except struct.error as error:
        raise ValueError("the token is cut short") from error


def _digest(scope: bytes, payload: bytes) -> bytes:
    """Return a digest that only tokens of this list have. No secret: tokens grant no rights."""
    return blake2b(payload, digest_size=_DIGEST_SIZE, key=blake2b(scope).digest()).digest()
