"""Fixtures and settings for all tests."""

import asyncio
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Modules outside of test files assert too: let pytest rewrite their assertions.
pytest.register_assert_rewrite("tests.conformance", "tests.rpc", "tests.support.servers")

# A shell ignores SIGINT in background jobs, and the programs that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup ignores SIGHUP, and servers that tests start would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# With PYTHONUNBUFFERED, programs that tests start would not buffer their output as users' do.
os.environ.pop("PYTHONUNBUFFERED", None)

settings.register_profile(
    "board",
    deadline=None,  # a commit waits for the disk, whose speed varies
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
