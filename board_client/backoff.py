"""When a call is sent again: how many attempts it has, and the pauses between them.

docs/retries.md has the same figures, for both languages.
"""

import math
import random
import time

from board_client.errors import BoardError, Unavailable

FIRST_PAUSE = 0.1
"""Seconds between the first attempt and the second."""

LARGEST_PAUSE = 2.0
"""Seconds of the longest pause."""

FACTOR = 2
"""How much longer each pause is than the one before it."""

JITTER = (0.8, 1.2)
"""Each pause is multiplied by a random number between these two.

Clients that lost their server together do not return together.
"""

ATTEMPTS = 6
"""How often a call is sent, within 3 s, before the server counts as unavailable."""

ATTEMPTS_BEFORE_FIRST_ANSWER = 3
"""The same, within 0.3 s, for a server on this machine that has not answered this client yet.

It is more likely that no server runs there than that the network is bad.
"""


class Pauses:
    """The pauses between attempts, growing from the first to the largest."""

    def __init__(self) -> None:
        self.next = FIRST_PAUSE
        """Seconds of the next pause, before it is varied."""

    def take(self) -> float:
        """Return the seconds of the next pause, varied; the one after it is longer."""
        pause = self.next
        self.next = min(FACTOR * pause, LARGEST_PAUSE)
        return pause * random.uniform(*JITTER)  # noqa: S311  it guards no secret

    def reset(self) -> None:
        """Begin again with the first pause."""
        self.next = FIRST_PAUSE


class Retry:
    """One call's attempts: `timeout` seconds for all of them, and at most `attempts`."""

    def __init__(self, timeout: float, attempts: float = math.inf) -> None:
        self._deadline = time.monotonic() + timeout
        self._attempts = attempts
        self._pauses = Pauses()

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def pause(self, error: BoardError) -> float:
        """Return the seconds to wait before the next attempt.

        Raises the error if the call is not to be sent again. If the next pause would last
        until the deadline, a call whose attempts are bounded ends now, and any other one
        at the deadline.
        """
        self._attempts -= 1
        left = self.left()
        late = left <= (0 if self._attempts == math.inf else self._pauses.next)
        if not isinstance(error, Unavailable) or self._attempts < 1 or late:
            raise error
        return min(self._pauses.take(), left)
