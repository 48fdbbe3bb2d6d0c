"""Describes the machine and the software versions of a benchmark run."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import apsw


def describe() -> dict[str, str]:
    """Return the description, by name of the part."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _first_line("git", "describe", "--always", "--dirty"),
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "uvloop": version("uvloop"),
        "SQLite": apsw.sqlite_lib_version(),
        "etcd": _first_line("etcd", "--version").removeprefix("etcd Version: "),
        "Go": _first_line("go", "version").removeprefix("go version "),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return done.stdout.splitlines()[0]
