"""How both clients reach a board: the channel's options, its credentials, the retry policy."""

import json
from collections.abc import Callable
from typing import Any

from board_client.credentials import Credentials, Metadata

DEFAULT_TARGET = "127.0.0.1:7447"

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call may take, its retries included."""

MAX_MESSAGE = 64 * 2**20

_RETRY_UNAVAILABLE = {
    "methodConfig": [
        {
            "name": [{"service": "board.v1.BoardService"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.service_config", json.dumps(_RETRY_UNAVAILABLE)),
    # A peer that is gone without a word is noticed.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A server that restarts is found again soon.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


def connect(kind: Any, target: str, credentials: Credentials) -> Any:
    """Open a channel; `kind` is the module that has them, `grpc` or `grpc.aio`.

    Raises BadCredentials.
    """
    credentials.checked(target)
    if credentials.encrypted and not target.startswith(("unix:", "unix-abstract:")):
        return kind.secure_channel(target, credentials.for_channel(), options=OPTIONS)
    return kind.insecure_channel(target, options=OPTIONS)


def bearing(channel: Any, credentials: Credentials) -> Any:
    """Return what a stub takes for a channel, whose calls bear the token if there is one.

    grpc's own call credentials want TLS even to this machine, and a thread for each call.
    """
    if not (credentials.token or credentials.token_file):
        return channel
    return _Bearing(channel, credentials.bearer())


class _Bearing:
    """A channel as far as generated stubs need one."""

    def __init__(self, channel: Any, bearer: Callable[[], Metadata]) -> None:
        self._channel = channel
        self._bearer = bearer

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self._channel.unary_stream(*args, **kwargs))

    def _with_token(self, method: Any) -> Any:
        def call(request: Any, *, metadata: Metadata = (), **kwargs: Any) -> Any:
            return method(request, metadata=(*metadata, *self._bearer()), **kwargs)

        return call
