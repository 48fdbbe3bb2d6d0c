"""How a watch resumes when its connection breaks: the logic of both clients.

follow = Follow(scope, kinds, attempts=...)
while True:
    if follow.needs_snapshot: yield follow.start_from(the board's snapshot)
    for response of Watch(follow.request()): yield follow.take(response)
    on an error: sleep follow.pause(error) seconds
"""

import math
from collections.abc import Sequence

from board_client import calls
from board_client.backoff import Pauses
from board_client.calls import Scope
from board_client.errors import (
    BoardError,
    BoardReplaced,
    DeadlineExceeded,
    RevisionCompacted,
    Unavailable,
    WatchTooSlow,
)
from board_client.model import Event, EventKindLike, Snapshot
from board_client.v1 import board_pb2 as pb


class Follow:
    """The state of one watch: its revision, and what to do next.

    `attempts` bounds the attempts before the first message; there is no bound later.
    """

    def __init__(
        self,
        scope: Scope,
        kinds: Sequence[EventKindLike] = (),
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
        self._attempts = attempts
        self._pauses = Pauses()
        self.needs_snapshot = snapshots

    @property
    def revision(self) -> int:
        """The revision up to which every event has arrived; -1 before the first message."""
        return self._reached

    def start_from(self, snapshot: Snapshot) -> Snapshot:
        """Watch from this snapshot's revision, and return the snapshot."""
        self._after = snapshot.revision
        self._board_id = snapshot.board_id
        self.needs_snapshot = False
        return snapshot

    def request(self) -> pb.WatchRequest:
        """Return the request that resumes where the last stream ended."""
        return calls.watch_request(self._scope, self._after, self._kinds, self._board_id)

    def take(self, response: pb.WatchResponse) -> list[Event]:
        """Return a message's events, and remember where to resume after them."""
        self._attempts = math.inf
        self._pauses.reset()
        self._after = self._reached = response.revision
        self._board_id = response.board_id or self._board_id
        return [calls.event(event) for event in response.events]

    def pause(self, error: BoardError) -> float:
        """Return the seconds to wait before the next attempt; raise the error if there is none.

        A watch without a first message gives up soon: its target may be wrong. After the
        first message it always resumes, even if a server does not answer within the timeout.
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
                return self._pauses.take()
            case _:
                raise error
