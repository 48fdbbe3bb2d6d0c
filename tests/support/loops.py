"""The event loops of a test process. None is closed before the process ends.

After a call is cancelled, gRPC completes its operations in a thread of its own. Some event loop
of the process passes them on to the loop that began them; if that one is closed, this one logs
"Event loop is closed" (grpcio 1.85). So there are three loops: pytest-asyncio's session loop
for the tests, `runner` for blocking code that calls coroutines, and `background` for the
servers in threads.
"""

import asyncio
import threading
from functools import cache

import uvloop


@cache
def runner() -> asyncio.Runner:
    """Return the runner for blocking tests that call coroutines."""
    return asyncio.Runner()


@cache
def background() -> asyncio.AbstractEventLoop:
    """Return a loop that runs in a thread of its own until the process ends."""
    loop = uvloop.new_event_loop()
    threading.Thread(target=loop.run_forever, name="test servers", daemon=True).start()
    return loop
