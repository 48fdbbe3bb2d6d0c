"""`python -m benchmarks.threads`: the processor time of a call in each thread of the server.

The kernel counts processor time per thread. It depends less on other work of the machine
than calls a second do. The event loop's thread limits a server in Python.
"""

import random
import tempfile
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.bench import FULL, Bench
from benchmarks.rows import reads, writes
from benchmarks.servers import Server

REPEATS = 7
STEPS = {"GetPhaseState": reads, "SetPhaseState": writes}


def processor_time(server: Server) -> dict[int, float]:
    """Return the processor time of each thread in microseconds, by thread ID."""
    tasks = Path(f"/proc/{server.pid}/task")
    return {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1000
        for task in tasks.iterdir()
    }


def cost(bench: Bench, server: Server, work: str, connections: int) -> tuple[float, float, float]:
    """Return microseconds per call of the event loop's thread and of all threads, and calls/s."""
    before = processor_time(server)
    result = bench.load(server, STEPS[work]("small"), connections=connections)
    after = processor_time(server)
    taken = {thread: time - before.get(thread, 0) for thread, time in after.items()}
    # The processor time includes the calls of the warm-up.
    calls = result.operations * (1 + min(0.3, bench.scale.seconds) / result.seconds)
    return taken[server.pid] / calls, sum(taken.values()) / calls, result.per_second


def main() -> None:
    """Measure both servers alternately, and print the medians."""
    table = Table("work", "connections", "server", "loop, us", "all, us", "calls/s")
    with tempfile.TemporaryDirectory() as directory, Bench(Path(directory), FULL) as bench:
        servers = {"bare echo": bench.echo, "board": bench.board}
        for work in STEPS:
            for connections in (8, 32):
                seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
                for _ in range(REPEATS):
                    for name in random.sample(list(servers), len(servers)):
                        seen[name].append(cost(bench, servers[name], work, connections))
                for name, repeats in seen.items():
                    figures = [f"{median(each):,.0f}" for each in zip(*repeats, strict=True)]
                    table.add_row(work, str(connections), name, *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
