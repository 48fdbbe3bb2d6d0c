# ruff: noqa: T201  a command prints
"""Run seeds: `python -m tests.simulation 1234`, `python -m tests.simulation --soak 3600`."""

import argparse
import os
import sys
import time
import traceback
from itertools import count

from tests.simulation.loop import Defect
from tests.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--soak", type=float, help="random seeds for so many seconds")
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    arguments = parser.parse_args()
    seeds = arguments.seeds or (int.from_bytes(os.urandom(4)) for _ in count())
    end = time.monotonic() + (arguments.soak or 1e9)
    for seed in seeds:
        if time.monotonic() > end:
            break
        began = time.process_time()
        try:
            report = simulate(seed, echo=arguments.trace)
        except (Exception, Defect):
            traceback.print_exc()
            print(f"found; again with: .venv/bin/python -m tests.simulation {seed}")
            return 1
        print(
            f"{seed}: {report.hash} {report.steps:,} steps, {report.operations:,} calls, "
            f"{report.commits:,} commits, {time.process_time() - began:.1f} s"
        )
    return 0


sys.exit(main())
