"""How a session is kept: when it is renewed, and when it counts as lost.

The logic of both clients, without threads or tasks:

lease = Lease(ttl, when OpenSession was sent)
until lease.lost():
    if lease.due(): send a renewal with a deadline of lease.left() seconds,
        by another connection if lease.unanswered; lease.sent()
    wait lease.pause() seconds, or for an answer, which is for lease.take()
"""

import time
from collections.abc import Callable
from datetime import timedelta

import grpc

from board_client.errors import (
    BoardError,
    BoardNotFound,
    BoardReplaced,
    ClientClosed,
    InvalidArgument,
    PermissionDenied,
    SessionExpired,
    Unauthenticated,
)

LEAVING = 2.0
"""Seconds that closing a session may take where its block ends by Ctrl-C or a cancellation."""

_FINAL = (
    SessionExpired,
    BoardNotFound,
    BoardReplaced,
    Unauthenticated,
    PermissionDenied,
    InvalidArgument,
    ClientClosed,
)
"""What no later renewal mends."""


class Lease:
    """What a client knows of its session's life, by its own monotonic clock.

    The session lives at least one ttl from when the last renewal that was answered
    reached the server, which is not before it was sent.
    """

    def __init__(
        self, ttl: timedelta, sent: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._ends = sent + self._ttl
        self._next = sent + self._ttl / 3
        self.unanswered = False
        """Whether the last renewal has had no answer yet, not even an error."""

    def lost(self) -> bool:
        """Return whether the session may have expired."""
        return self.left() <= 0

    def due(self) -> bool:
        """Return whether it is time to renew the session."""
        return self._clock() >= self._next

    def left(self) -> float:
        """Return the seconds until the session may expire."""
        return self._ends - self._clock()

    def pause(self) -> float:
        """Return the seconds until something is to be done."""
        return max(0.0, min(self._next, self._ends) - self._clock())

    def sent(self) -> float:
        """Note that a renewal is sent, and return when, for `take`.

        Another follows after a third of the ttl, whether or not this one is answered.
        """
        now = self._clock()
        self._next = now + self._ttl / 3
        self.unanswered = True
        return now

    def take(self, sent: float, error: BoardError | None) -> BoardError | None:
        """Take the answer to a renewal; return the error if it means that the session is lost."""
        self.unanswered = False
        if error is None:
            self._ends = max(self._ends, sent + self._ttl)
        elif isinstance(error, _FINAL):
            return error
        else:
            self._next = min(self._next, self._clock() + min(1.0, self._ttl / 10))
        return None


def unrenewed(session_id: str, ttl: timedelta) -> SessionExpired:
    """Make the error of a session that counts as lost since no renewal was answered in time."""
    return SessionExpired(
        f'session "{session_id}" could not be renewed for {ttl.total_seconds():g} s, its ttl: '
        "the server may have ended it; drop its work",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        metadata={"session_id": session_id},
    )
