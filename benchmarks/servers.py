"""Starts the measured servers: the board, its variants, the echo and etcd, each a process."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import grpc

from board_server.announcement import address_in

Running = AbstractContextManager["Server"]

START = 30.0
"""Seconds that a server may take to start, and to stop."""


@dataclass(frozen=True)
class Server:
    """A running server: its address and process ID."""

    address: str
    pid: int

    def resident(self) -> float:
        """Return its resident memory in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"/proc/{self.pid}/status has no VmRSS")


def board(directory: Path, *options: str, changes: str = "") -> Running:
    """Serve the directory with `board serve`, or with changes of benchmarks.variants."""
    program = ["benchmarks.variants", changes] if changes else ["board_server"]
    return _python(*program, str(directory), "--listen", "127.0.0.1:0", *options)


def echo() -> Running:
    """Serve the bare echo."""
    return _python("benchmarks.echo")


def etcd(directory: Path) -> Running:
    """Start etcd with a single member."""
    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    command = ["etcd", "--data-dir", str(directory), "--log-level", "error", "--logger", "zap"]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command += ["--initial-cluster", f"default={peer}", "--quota-backend-bytes", str(8 * 2**30)]
    return _etcd(command, client.removeprefix("http://"), directory.with_suffix(".log"))


def has_etcd() -> bool:
    """Return whether etcd is installed."""
    return shutil.which("etcd") is not None


@contextmanager
def _python(*arguments: str) -> Iterator[Server]:
    with _process([sys.executable, "-m", *arguments], subprocess.PIPE) as process:
        assert process.stdout
        address = address_in(process.stdout.readline().decode())
        if address is None:
            raise RuntimeError(f"{arguments[0]} did not start")
        yield Server(address, process.pid)


@contextmanager
def _etcd(command: list[str], address: str, log: Path) -> Iterator[Server]:
    with log.open("wb") as output, _process(command, output, output) as process:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=START)
        yield Server(address, process.pid)


@contextmanager
def _process(
    command: list[str], stdout: int | IO[bytes], stderr: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(command, stdout=stdout, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=START)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
