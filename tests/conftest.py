"""What every test shares."""

import asyncio
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# The suites and the shared modules assert too; let pytest explain their failures.
pytest.register_assert_rewrite("tests.conformance", "tests.rpc", "tests.support.servers")

# A shell has what it runs in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise nohup, and the end of a terminal: servers that tests start would ignore SIGHUP.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Programs that tests start would write at once what users' programs write at their end.
os.environ.pop("PYTHONUNBUFFERED", None)

settings.register_profile(
    "board",
    deadline=None,  # a commit waits for the disk, which takes what it takes
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # examples use boards or reads that do not interfere
        HealthCheck.differing_executors,  # a suite's class is run once for each backend
        HealthCheck.too_slow,
    ],
)
settings.load_profile("board")


@pytest.fixture(autouse=True)
async def no_task_outlives_its_test():
    """Cancel the tasks that a test leaves behind on the loop that it shares with the others."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
