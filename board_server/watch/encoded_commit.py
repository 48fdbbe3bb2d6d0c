"""EncodedCommit: one commit, each of its events encoded once for all subscriptions."""

import asyncio

from board_server.model import Change, Commit
from board_server.wire.responses import encoded_bookmark, encoded_event, weight

ENCODED_AT_ONCE = 200
"""Events that are encoded before other calls run: about two milliseconds of the event loop."""


class EncodedCommit:
    """A commit as Watch sends it."""

    def __init__(self, commit: Commit) -> None:
        self.revision = commit.revision
        self.size = sum(weight(event.record) for event in commit.events)
        """Its approximate size in bytes."""
        self._commit: Commit | None = commit  # None once all events are encoded
        self._events: list[tuple[Change, bytes]] = []
        self._encoding = asyncio.Lock()

    async def encode(self) -> None:
        """Encode the events. A large commit is encoded in steps, so that other calls run."""
        if self._commit is None:
            return
        if len(self._commit.events) <= ENCODED_AT_ONCE:
            self._encode_some(self._commit)
            return
        async with self._encoding:
            await self._encode_in_steps()

    async def _encode_in_steps(self) -> None:
        """Encode what is left: if one subscription is cancelled here, the next one continues."""
        while self._commit:
            self._encode_some(self._commit)
            await asyncio.sleep(0)

    def _encode_some(self, commit: Commit) -> None:
        begin = len(self._events)
        for event in commit.events[begin : begin + ENCODED_AT_ONCE]:
            self._events.append((event.change, encoded_event(commit, event)))
        if len(self._events) == len(commit.events):
            self._commit = None

    def message(self, kinds: frozenset[Change]) -> bytes:
        """Return an encoded WatchResponse with the events of these kinds, after `encode`."""
        parts = [encoded for change, encoded in self._events if change in kinds]
        return b"".join((*parts, encoded_bookmark(self.revision)))
