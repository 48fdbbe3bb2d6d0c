"""The simulated server keeps its promises with every seed, and each seed repeats exactly."""

import os
import subprocess
import sys
import time
from itertools import count

import pytest

from tests.faults.soak import LONG
from tests.simulation.loop import Defect
from tests.simulation.run import simulate

SEEDS = int(os.environ.get("BOARD_SEEDS", "60"))
"""How many seeds are run; `make quick` runs a handful."""

AT_ONCE = 6

HOUR = 3600.0


def run(seed):
    try:
        return simulate(seed)
    except (Exception, Defect) as error:
        again = f".venv/bin/python -m tests.simulation {seed}"
        raise AssertionError(f"seed {seed} finds: {error}\nagain with: {again}") from error


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_a_simulated_server_keeps_its_promises(first):
    for seed in range(first, min(first + AT_ONCE, SEEDS)):
        run(seed)


@pytest.mark.skipif(not LONG, reason="takes an hour")
def test_a_simulated_server_keeps_its_promises_for_an_hour():
    end = time.monotonic() + HOUR
    for _ in count():
        if time.monotonic() > end:
            break
        run(int.from_bytes(os.urandom(6)))


def test_a_seed_does_the_same_in_every_process():
    """The addresses of objects and the hashes of strings have no influence."""
    hashes = set()
    for hash_seed in ("1", "2"):
        ended = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "2", "3", "11"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.add(tuple(line.split()[1] for line in ended.stdout.splitlines()))
    assert len(hashes) == 1
    assert len(set(hashes.pop())) == 3
