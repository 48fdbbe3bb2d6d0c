"""Failpoints: named places where a test crashes the server. Production never sets BOARD_CRASH_AT.

BOARD_CRASH_AT is POINT, or POINT:N to crash when POINT is reached for the Nth time.
"""

import os
import signal
from collections.abc import Callable


def _crashing_at(wanted: str) -> Callable[[str], None]:
    point, _, count = wanted.partition(":")
    left = int(count or 1)

    def failpoint(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return failpoint


def _off(name: str) -> None:
    """Do nothing: no failpoint is set."""


_wanted = os.environ.get("BOARD_CRASH_AT", "")

failpoint: Callable[[str], None] = _crashing_at(_wanted) if _wanted else _off
"""Crash here if BOARD_CRASH_AT names this failpoint. The name says where: `before-commit`."""
