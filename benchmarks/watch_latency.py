"""`python -m benchmarks.watch_latency`: the delay from a commit to each watcher.

One writer claims files at a steady rate; each call is one commit, and each watcher receives
its event. The server records the time of each commit, the watchers that of each message,
both by the machine's monotonic clock.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from rich.console import Console

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.announcement import address_in

WATCH = "/board.v1.BoardService/Watch"

WARM_UP = 50
"""Writes whose deliveries are not counted."""

SERVE = "serve"

console = Console()


def serve(stamps: Path) -> None:
    """Run the server; write the time of each commit to a file, one line each."""
    from board_server.__main__ import app  # noqa: PLC0415  only the server needs it
    from board_server.sqlite import group_commit  # noqa: PLC0415  likewise

    file = stamps.open("w", buffering=1)

    def failpoint(at: str) -> None:
        if at == "after-commit":
            file.write(f"{time.monotonic_ns()}\n")

    group_commit.failpoint = failpoint
    app()


@contextmanager
def serving(directory: Path, stamps: Path) -> Iterator[str]:
    """Run `serve` in a process of its own; yield its address."""
    command = [sys.executable, "-m", "benchmarks.watch_latency", SERVE, str(stamps)]
    command += [str(directory), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = address_in(process.stdout.readline())
        if address is None:
            raise RuntimeError("the server did not start")
        try:
            yield address
        finally:
            process.terminate()


async def watch(channel: grpc.aio.Channel, ready: asyncio.Semaphore) -> list[tuple[int, bytes]]:
    """Record when each message of a watch arrives, until the task is cancelled."""
    # Messages stay encoded: decoding is not part of the delay.
    call = channel.unary_stream(WATCH, pb.WatchRequest.SerializeToString)
    stream: Any = call(pb.WatchRequest())
    await stream.read()
    ready.release()
    messages = []
    try:
        while True:
            message = await stream.read()
            messages.append((time.monotonic_ns(), message))
    except asyncio.CancelledError:
        return messages


async def write(channel: grpc.aio.Channel, rate: float, count: int) -> float:
    """Claim files at a rate; return the actual rate."""
    stub: Any = BoardServiceStub(channel)
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await stub.ClaimFile(pb.ClaimFileRequest(filepath=f"{number}.go", owner="p"))
    return count / (time.monotonic() - began)


async def run(
    address: str, watchers: int, rate: float, count: int
) -> tuple[float, list[list[tuple[int, bytes]]]]:
    """Write while all watch; return the actual rate, and the messages of each watcher."""
    ready = asyncio.Semaphore(0)
    async with grpc.aio.insecure_channel(address) as channel:
        watching = [asyncio.create_task(watch(channel, ready)) for _ in range(watchers)]
        for _ in watching:
            await ready.acquire()
        reached = await write(channel, rate, count)
        await asyncio.sleep(1)  # for messages in transit
        for task in watching:
            task.cancel()
        return reached, await asyncio.gather(*watching)


def delays(stamps: list[int], received: list[list[tuple[int, bytes]]]) -> list[float]:
    """Return the milliseconds from each commit to each watcher."""
    found = []
    for messages in received:
        revisions = set()
        for moment, message in messages:
            for event in pb.WatchResponse.FromString(message).events:
                revisions.add(event.revision)
                if event.revision > WARM_UP:
                    found.append((moment - stamps[event.revision - 1]) / 1e6)
        if len(revisions) != len(stamps):
            raise RuntimeError(f"a watcher received {len(revisions)} of {len(stamps)} commits")
    return found


def main(
    watchers: Annotated[int, typer.Option(min=1)] = 100,
    rate: Annotated[float, typer.Option(min=1, help="Writes a second.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=1)] = 10.0,
) -> None:
    """Print the median and the 99th percentile of the delay."""
    with tempfile.TemporaryDirectory() as directory:
        stamps = Path(directory) / "stamps"
        count = WARM_UP + int(rate * seconds)
        with serving(Path(directory) / "boards", stamps) as address:
            reached, received = asyncio.run(run(address, watchers, rate, count))
        moments = [int(line) for line in stamps.read_text().split()]
    percentiles = statistics.quantiles(delays(moments, received), n=100)
    console.print(
        f"{watchers} watchers, {reached:.0f} writes a second: "
        f"p50 {percentiles[49]:.2f} ms, p99 {percentiles[98]:.2f} ms from commit to watcher"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == [SERVE]:
        del sys.argv[1]
        serve(Path(sys.argv.pop(1)))
    else:
        typer.run(main)
