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
    """One call: its method, the name that it goes by in the log, and who makes it."""

    __slots__ = ("caller", "method", "request_id")

    def __init__(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self.method = method
        self.caller: Caller | None = None
        for key, value in metadata:
            if key == REQUEST_ID and isinstance(value, str) and _ID.fullmatch(value):
                self.request_id = value
                return
        self.request_id = f"{_process}-{next(_numbers):x}"


CURRENT: ContextVar[Call | None] = ContextVar("board_call", default=None)
