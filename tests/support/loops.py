"""The event loops of a test process. None is closed before the process ends.

gRPC completes the operations of a call that was cancelled on a thread of its own, a moment
after `cancel` has returned, and hands them to the event loop that began them; any loop of the
process may be the one that passes them on. If the first is closed by then, the other logs
"Event loop is closed" (grpcio 1.85). So tests share one loop for themselves
(pytest-asyncio's session loop), one for blocking code that calls coroutines (`runner`), and one
for the servers in threads (`background`).
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
