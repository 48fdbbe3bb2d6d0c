"""Fixtures of the tests of the Go module and of the examples."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def go():
    """The path of the Go command. Without Go the test is skipped; in CI it fails."""
    path = shutil.which("go")
    if path is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("there is no Go on the PATH")
    return path
