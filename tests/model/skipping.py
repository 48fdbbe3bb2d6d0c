"""An event loop whose clock can be put forward, so that no test waits for a session to expire."""

import asyncio


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time is the machine's, and what was skipped."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0

    def time(self) -> float:
        return super().time() + self._skipped

    def skip(self, seconds: float) -> None:
        """Let what is due within so many seconds be due now."""
        self._skipped += seconds
