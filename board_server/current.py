"""The call that the running task answers, for whatever has something to say about it."""

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import count

from board_server.caller import Caller

REQUEST_ID = "x-request-id"
"""Metadata in which a client names its call, and the server says what it is called."""

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_process = secrets.token_hex(4)
_numbers = count(1)


class Call:
    """One call: its method, who makes it, and the name that it goes by in the log.

    `asked_id` is the name that the client gave it, "" if none.
    """

    __slots__ = ("_made_id", "asked_id", "caller", "method")

    def __init__(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self.method = method
        self.caller: Caller | None = None
        self.asked_id = ""
        self._made_id = ""
        for key, value in metadata:
            if key == REQUEST_ID and isinstance(value, str) and _ID.fullmatch(value):
                self.asked_id = value

    @property
    def request_id(self) -> str:
        """Return the client's name for the call, or the one that we made; most need none."""
        if not (self.asked_id or self._made_id):
            self._made_id = f"{_process}-{next(_numbers):x}"
        return self.asked_id or self._made_id


CURRENT: ContextVar[Call | None] = ContextVar("board_call", default=None)
