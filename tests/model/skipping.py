"""An event loop whose clock can be advanced, so that no test waits for a session to expire."""

import asyncio


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time is the machine's plus the skipped time."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0

    def time(self) -> float:
        return super().time() + self._skipped

    def skip(self, seconds: float) -> None:
        """Advance the clock by this many seconds."""
        self._skipped += seconds
