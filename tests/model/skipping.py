"""An event loop whose clock can be advanced, so that no test waits for a session to expire."""

import asyncio


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time is the machine's plus what was skipped."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0

    def time(self) -> float:
        return super().time() + self._skipped

    def skip(self, seconds: float) -> None:
        """Advance the clock by so many seconds."""
        self._skipped += seconds
