"""How both clients reach a board: the channel's options, its credentials, the retry policy."""

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

from board_client import arguments
from board_client.credentials import Credentials, Metadata
from board_client.errors import ClientClosed, InvalidArgument
from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub

DEFAULT_TARGET = "127.0.0.1:7447"

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call may take, its retries included."""

MAX_MESSAGE = 64 * 2**20

MAX_ATTEMPTS = 5
"""How often a call is sent before the server counts as unavailable."""

_SERVICE = pb.DESCRIPTOR.services_by_name["BoardService"]

# Not the streams: a streaming call that grpc retries can hang for ever, its
# deadline notwithstanding. `watch` has what goes on in their place.
_RETRY_UNAVAILABLE = {
    "methodConfig": [
        {
            "name": [
                {"service": _SERVICE.full_name, "method": method.name}
                for method in _SERVICE.methods
                if not method.server_streaming
            ],
            "retryPolicy": {
                "maxAttempts": MAX_ATTEMPTS,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                # A call that a server had accepted when it went down may end as CANCELLED.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
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

_NOWHERE = frozenset({"", "unix:", "unix://", "unix-abstract:"})

_WRITES = frozenset(
    {
        *("SetPhaseState", "PublishContract", "PublishContracts", "ClaimFile", "ClaimFiles"),
        *("ReleaseClaims", "CompletePhase", "OpenSession", "CloseSession", "ArchiveBoard"),
    }
)


def metadata(method: str) -> Metadata:
    """Make what goes with a call: a write has an ID, so that a retry does not repeat it.

    The ID begins with the time: the board then stores the latest side by side.
    """
    if method not in _WRITES:
        return ()
    return (("board-request-id", f"{time.time_ns():x}-{secrets.token_hex(8)}"),)


class Connection:
    """A channel to a server, for all clients that share it, and whether they have closed it.

    `kind` is the module that has channels, `grpc` or `grpc.aio`. Raises BadCredentials,
    and InvalidArgument for a target that names nothing.
    """

    def __init__(self, kind: Any, target: str, credentials: Credentials) -> None:
        self._target = target
        self._channel = _open(kind, target, credentials)
        self._stub = BoardServiceStub(_bearing(self._channel, credentials))
        self.closed = False

    def method(self, name: str) -> Any:
        """Return a method of the service. Raises ClientClosed."""
        if self.closed:
            raise ClientClosed.of(self._target)
        return getattr(self._stub, name)

    def close(self) -> Any:
        """Close it; where `kind` is `grpc.aio`, what this returns is to be awaited. Idempotent."""
        self.closed = True
        return self._channel.close()


def _open(kind: Any, target: str, credentials: Credentials) -> Any:
    if arguments.text("target", target) in _NOWHERE:
        raise InvalidArgument.of("target", f'"{target}" must be HOST:PORT or unix:PATH')
    credentials.checked(target)
    if credentials.encrypted and not target.startswith(("unix:", "unix-abstract:")):
        return kind.secure_channel(target, credentials.for_channel(), options=OPTIONS)
    return kind.insecure_channel(target, options=OPTIONS)


def _bearing(channel: Any, credentials: Credentials) -> Any:
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
