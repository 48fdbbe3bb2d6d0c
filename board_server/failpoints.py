"""Named points at which a test kills the server; production never sets what switches them on.

BOARD_CRASH_AT is POINT, or POINT:N for the Nth time that it is reached.
"""

import os
import signal
from collections.abc import Callable


def _crashing_at(wanted: str) -> Callable[[str], None]:
    point, _, count = wanted.partition(":")
    left = int(count or 1)

    def reach(at: str) -> None:
        nonlocal left
        if at == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach


def _pass(at: str) -> None:
    """Go on: nothing is to happen anywhere."""


_wanted = os.environ.get("BOARD_CRASH_AT", "")

reach: Callable[[str], None] = _crashing_at(_wanted) if _wanted else _pass
"""Say that a point is reached. A point's name is a verb phrase: `before-commit`."""
