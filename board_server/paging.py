"""Page tokens: opaque to callers, and good only for the list they came from."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

Cursor = tuple[str | int, ...]

_DIGEST_SIZE = 8


def encode(scope: bytes, cursor: Cursor | None) -> str:
    """Make the token that leads on from `cursor`; "" at the end. `scope` is the list's identity."""
    if cursor is None:
        return ""
    payload = json.dumps(cursor, ensure_ascii=False).encode()
    return urlsafe_b64encode(_digest(scope, payload) + payload).decode()


def decode(scope: bytes, token: str, shape: tuple[type, ...]) -> Cursor | None:
    """Read a token's cursor, None for "". Raises ValueError on a token from elsewhere."""
    if not token:
        return None
    raw = urlsafe_b64decode(token.encode())
    digest, payload = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
    if digest != _digest(scope, payload):
        raise ValueError("the token is not of this list")
    cursor = tuple(json.loads(payload))
    if tuple(map(type, cursor)) != shape:
        raise ValueError("the token is not of this kind of list")
    return cursor


def _digest(scope: bytes, payload: bytes) -> bytes:
    """Tell tokens of other lists apart. No secret: a token grants nothing."""
    return blake2b(payload, digest_size=_DIGEST_SIZE, key=blake2b(scope).digest()).digest()
