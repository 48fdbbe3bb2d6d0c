"""The call that the running task handles: its method, principal, metadata and request ID."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Protocol

from board_server.errors import BoardError
from board_server.principal import ANYONE, Principal

REQUEST_ID = "x-request-id"
"""Metadata with the request ID: how a call is named in logs."""

Metadata = tuple[tuple[str, str | bytes], ...]

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_process = secrets.token_hex(4)
_numbers = count(1)


class Holding(Protocol):
    """Counts what one call makes the server hold in memory, against its principal's limits."""

    def hold(self, size: int) -> None:
        """Count bytes that stay in memory until the call ends. Raises LimitExceeded."""

    async def room(self, size: int) -> None:
        """Count bytes that the client has not read, once its limit allows `size` more."""

    def resize(self, before: int, after: int) -> None:
        """Change the count of unread bytes from `before` to `after`."""

    def session(self, board: str, *, new: bool = True) -> Callable[[], None]:
        """Count a session and the board that it keeps open; return a function to call at its end.

        A `board` of "" is not counted: it stays open anyway. Raises LimitExceeded for a new
        session; one that lives already counts even beyond the limit.
        """

    def end(self) -> None:
        """Stop counting all that was counted, except the call and its unread reply."""


class Call:
    """A call and its principal; created by the task that handles the call.

    `asked_id` is the request ID from the client, "" if there is none. `started` is when the call
    arrived, by `time.perf_counter`. `ended` is the error given to `end`. `data` is the encoded
    request of a call that may have an idempotency key.
    """

    __slots__ = (
        "_made_id",
        "_task",
        "asked_id",
        "data",
        "ended",
        "holding",
        "metadata",
        "method",
        "principal",
        "started",
    )

    def __init__(self, method: str, metadata: Metadata) -> None:
        self.started = time.perf_counter()
        self.method = method
        self.metadata = metadata
        self.principal: Principal = ANYONE
        self.ended: BoardError | None = None
        self.data = b""
        self.holding: Holding
        self.asked_id = ""
        self._made_id = ""
        self._task = asyncio.current_task()
        for key, value in metadata:
            if key == REQUEST_ID and isinstance(value, str) and _ID.fullmatch(value):
                self.asked_id = value

    @property
    def request_id(self) -> str:
        """The request ID: the client's, or one made at first use, as most calls need none."""
        if not (self.asked_id or self._made_id):
            self._made_id = f"{_process}-{next(_numbers):x}"
        return self.asked_id or self._made_id

    def end(self, error: BoardError) -> None:
        """Cancel the call; its client receives the error."""
        self.ended = error
        if self._task:
            self._task.cancel()


CURRENT: ContextVar[Call | None] = ContextVar("board_call", default=None)
"""The call that the running task handles; None outside of calls."""
