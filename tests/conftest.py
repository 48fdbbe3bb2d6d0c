"""What every test shares."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# The suites and the shared modules assert too; let pytest explain their failures.
pytest.register_assert_rewrite("tests.conformance", "tests.rpc", "tests.servers")

# A shell has what it runs in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

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
