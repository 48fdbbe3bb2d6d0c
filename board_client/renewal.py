"""When a session is renewed, and when it counts as lost.

The logic of both clients, without threads or tasks:

lease = Lease(ttl, when OpenSession was sent)
until lease.lost():
    if lease.due(): send a renewal with a deadline of lease.left() seconds,
        by another connection if lease.unanswered; lease.sent()
    wait lease.pause() seconds or for an answer; lease.take(the answer)
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
"""Seconds that closing a session may take if Ctrl-C or a cancellation ends its block."""

NOT_ENTERED = "the session was not entered; use it in a `with` or `async with` block"
"""Text of the RuntimeError of leaving a session that was not entered."""

_FINAL = (
    SessionExpired,
    BoardNotFound,
    BoardReplaced,
    Unauthenticated,
    PermissionDenied,
    InvalidArgument,
    ClientClosed,
)
"""Errors after which no later renewal can succeed."""


class Lease:
    """A session's lease, by the client's own monotonic clock.

    The server keeps the session for one ttl after a renewal reaches it, so at least
    for one ttl after the last answered renewal was sent.
    """

    def __init__(
        self, ttl: timedelta, sent: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl = ttl.total_seconds()
        self._clock = clock
        self._ends = sent + self._ttl
        self._next = sent + self._ttl / 3
        self.unanswered = False
        """Whether the last renewal has no answer yet, not even an error."""

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
        """Return the seconds until a renewal is due or the session may expire."""
        return max(0.0, min(self._next, self._ends) - self._clock())

    def sent(self) -> float:
        """Note that a renewal is sent now; return the time, which `take` needs.

        The next is due after a third of the ttl, whether or not this one is answered.
        """
        now = self._clock()
        self._next = now + self._ttl / 3
        self.unanswered = True
        return now

    def take(self, sent: float, error: BoardError | None) -> BoardError | None:
        """Note the answer to a renewal; return its error if the session is lost by it."""
        self.unanswered = False
        if error is None:
            self._ends = max(self._ends, sent + self._ttl)
        elif isinstance(error, _FINAL):
            return error
        else:
            self._next = min(self._next, self._clock() + min(1.0, self._ttl / 10))
        return None


def unrenewed(session_id: str, ttl: timedelta) -> SessionExpired:
    """Return the error of a session that is lost because no renewal was answered in time."""
    return SessionExpired(
        f'session "{session_id}" could not be renewed for {ttl.total_seconds():g} s, its ttl: '
        "the server may have ended it; drop its work",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        metadata={"session_id": session_id},
    )
