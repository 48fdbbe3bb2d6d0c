"""How calls and watches go on when their server goes away: the logic of both clients.

follow = Follow(scope, kinds, attempts=...)
while True:
    if follow.needs_snapshot: give follow.start_from(the board's snapshot)
    for response of Watch(follow.request()): give follow.take(response)
    on an error: sleep follow.pause(error) seconds
"""

import math
import random
import time
from collections.abc import Sequence

from board_client import calls
from board_client.calls import Scope
from board_client.errors import (
    BoardError,
    BoardReplaced,
    DeadlineExceeded,
    RevisionCompacted,
    Unavailable,
    WatchTooSlow,
)
from board_client.model import Event, EventKind, Snapshot
from board_client.v1 import board_pb2 as pb

# Seconds between two tries, doubled from the first to the last.
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 2.0


class Patience:
    """How long a call may go on over servers that come and go, and how often it is sent."""

    def __init__(self, timeout: float, attempts: float = math.inf) -> None:
        self._deadline = time.monotonic() + timeout
        self._attempts = attempts
        self._pause = _FIRST_PAUSE

    def left(self) -> float:
        """Return the seconds that are left."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, error: BoardError) -> float:
        """Return the seconds to wait before the next try; raise the error if none helps."""
        self._attempts -= 1
        if not isinstance(error, Unavailable) or self._attempts < 1 or self.left() <= self._pause:
            raise error
        pause = self._pause
        self._pause = min(2 * pause, _LAST_PAUSE)
        return _spread(pause)


def _spread(pause: float) -> float:
    """Vary a pause, so that clients that lost a server together do not return together."""
    return pause * random.uniform(0.8, 1.2)  # noqa: S311  it guards no secret


class Follow:
    """Where one watch stands, and what it does next."""

    def __init__(
        self,
        scope: Scope,
        kinds: Sequence[EventKind | str] = (),
        *,
        attempts: float,
        after_revision: int | None = None,
        snapshots: bool = False,
    ) -> None:
        self._scope = scope
        self._kinds = kinds
        self._after = after_revision
        self._reached = -1
        self._board_id = ""
        self._snapshots = snapshots
        self._attempts = attempts  # without end once it has begun
        self._pause = _FIRST_PAUSE
        self.needs_snapshot = snapshots

    @property
    def revision(self) -> int:
        """The revision up to which everything has come; -1 before the first message."""
        return self._reached

    def start_from(self, snapshot: Snapshot) -> Snapshot:
        """Watch from this snapshot on."""
        self._after = snapshot.revision
        self._board_id = snapshot.board_id
        self.needs_snapshot = False
        return snapshot

    def request(self) -> pb.WatchRequest:
        """Make the request that goes on where the last stream ended."""
        return calls.watch_request(self._scope, self._after, self._kinds, self._board_id)

    def take(self, response: pb.WatchResponse) -> list[Event]:
        """Return a message's events, and remember where to go on after them."""
        self._attempts = math.inf
        self._pause = _FIRST_PAUSE
        self._after = self._reached = response.revision
        self._board_id = response.board_id or self._board_id
        return [calls.event(event) for event in response.events]

    def pause(self, error: BoardError) -> float:
        """Return for how many seconds to wait before the next try; raise the error if none helps.

        A watch that never was connected gives up soon: its target may be wrong.
        One that was goes on, though a server stays silent for longer than a call may take.
        """
        self._attempts -= 1
        begun = self._attempts == math.inf
        match error:
            case WatchTooSlow():
                return 0.0
            case RevisionCompacted() | BoardReplaced() if self._snapshots:
                self.needs_snapshot = True
                return 0.0
            case Unavailable() | DeadlineExceeded() if begun or (
                isinstance(error, Unavailable) and self._attempts >= 1
            ):
                pause = self._pause
                self._pause = min(2 * pause, _LAST_PAUSE)
                return _spread(pause)
            case _:
                raise error
