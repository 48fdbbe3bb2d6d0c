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
from board_server.principal import ANYONE, Caller

REQUEST_ID = "x-request-id"
"""Metadata in which a client names its call, and the server says what it is called."""

Metadata = tuple[tuple[str, str | bytes], ...]

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_process = secrets.token_hex(4)
_numbers = count(1)


class Holding(Protocol):
    """What one call makes the server hold in memory, counted against the limits of its caller."""

    def hold(self, size: int) -> None:
        """Count bytes that are kept until the call ends. Raises LimitExceeded."""

    async def room(self, size: int) -> None:
        """Wait until the caller may have so many more bytes unread, and count them."""

    def resize(self, before: int, after: int) -> None:
        """Correct the count of unread bytes where `before` turned out to be `after`."""

    def session(self, board: str) -> Callable[[], None]:
        """Count a session and the board that it keeps open; return what to call at its end.

        A `board` of "" stays open anyway. Raises LimitExceeded.
        """

    def end(self) -> None:
        """Stop counting what was counted, except the call and its unread reply."""


class Call:
    """One call, made by the task that answers it: its method, who makes it, its name in the log.

    `asked_id` is the name that the client gave it, "" if none; `started` is when
    it came, by `time.perf_counter`; `ended` is the error that it was ended with; `data`
    is the request of a call that may have an idempotency key, as it came.
    """

    __slots__ = (
        "_made_id",
        "_task",
        "asked_id",
        "caller",
        "data",
        "ended",
        "holding",
        "metadata",
        "method",
        "started",
    )

    def __init__(self, method: str, metadata: Metadata) -> None:
        self.started = time.perf_counter()
        self.method = method
        self.metadata = metadata
        self.caller: Caller = ANYONE
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
        """Return the client's name for the call, or the one that we made; most need none."""
        if not (self.asked_id or self._made_id):
            self._made_id = f"{_process}-{next(_numbers):x}"
        return self.asked_id or self._made_id

    def end(self, error: BoardError) -> None:
        """Interrupt what the call does; its caller is told the error."""
        self.ended = error
        if self._task:
            self._task.cancel()


CURRENT: ContextVar[Call | None] = ContextVar("board_call", default=None)
