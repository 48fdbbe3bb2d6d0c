"""How both clients reach a board: the channel's options and the retry policy."""

import json
import secrets
import time

from board_client.v1 import board_pb2 as pb

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

_WRITES = frozenset(
    {
        *("SetPhaseState", "PublishContract", "PublishContracts", "ClaimFile", "ClaimFiles"),
        *("ReleaseClaims", "CompletePhase", "OpenSession", "CloseSession", "ArchiveBoard"),
    }
)


def metadata(method: str) -> tuple[tuple[str, str], ...]:
    """Make what goes with a call: a write has an ID, so that a retry does not repeat it.

    The ID begins with the time: the board then stores the latest side by side.
    """
    if method not in _WRITES:
        return ()
    return (("board-request-id", f"{time.time_ns():x}-{secrets.token_hex(8)}"),)
