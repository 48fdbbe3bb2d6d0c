"""The call that the running task answers, for whatever has something to say about it."""

import asyncio
import re
import secrets
import time
from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING

from board_server.caller import ANYONE, Caller
from board_server.errors import BoardError

if TYPE_CHECKING:  # it imports grpc, and the log's formatter imports this before grpc may be
    from board_server.limits import Holding

REQUEST_ID = "x-request-id"
"""Metadata in which a client names its call, and the server says what it is called."""

Metadata = tuple[tuple[str, str | bytes], ...]

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_process = secrets.token_hex(4)
_numbers = count(1)


class Call:
    """One call, made by the task that answers it: its method, who makes it, its name in the log.

    `asked_id` is the name that the client gave it, "" if none; `started` is when
    it came, by `time.perf_counter`; `ended` is the error that it was ended with; `data`
    is the request of a call that may change a board, as it came.
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
