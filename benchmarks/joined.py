"""`python -m benchmarks.joined`: the effect of keeping joined lists and snapshots.

Three servers run side by side and are measured in turn: two with the same code, which show the
noise, and one that joins the cache's encoded records for each call. Processor time of the whole
server is compared, because it depends less on other work of the machine than calls a second.
"""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from benchmarks import data, servers
from benchmarks.load import Generator, Load, Step
from benchmarks.rows import rpc, writes
from benchmarks.threads import processor_time
from board_client.v1 import board_pb2 as pb

REPEATS = 11
SECONDS = 0.6
SERVERS = {"kept": "nothing", "kept-again": "nothing", "joined": "join-each-time"}


def lists(board: str) -> Step:
    """List all contracts in one page."""
    return rpc("ListContracts", pb.ListContractsRequest(board=board, page_size=10_000))


def snapshots(board: str) -> Step:
    """Take snapshots."""
    return rpc("GetSnapshot", pb.GetSnapshotRequest(board=board), stream=True)


WORK = {
    f"{name}, {count:,} contracts, {connections} connection{'s' * (connections > 1)}": Load(
        [*before, step(f"board-{count}")], connections, SECONDS, warm_up=0
    )
    for count in (100, 1_000, 5_000)
    for name, before, step, connections in (
        ("ListContracts", [], lists, 1),
        ("ListContracts", [], lists, 8),
        ("SetPhaseState, then ListContracts", [writes(f"board-{count}")], lists, 1),
        ("GetSnapshot", [], snapshots, 1),
    )
}


def main() -> None:
    """Measure all servers in turn; print each one's time and its ratio to the first's."""
    table = Table("work", "server", "us a call", "ratio", "quartiles")
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        generator = Generator(Path(directory))
        for count in (100, 1_000, 5_000):
            data.fill_board(Path(directory, "boards"), f"board-{count}", contracts=count)
        served = {}
        for name, change in SERVERS.items():
            copy = Path(shutil.copytree(Path(directory, "boards"), Path(directory, name)))
            served[name] = running.enter_context(servers.board(copy, changes=change))
        for work, load in WORK.items():
            seen: dict[str, list[float]] = {name: [] for name in SERVERS}
            for _ in range(REPEATS):
                for name, server in served.items():
                    before = sum(processor_time(server).values())
                    (result,) = generator.run(server.address, load)
                    used = sum(processor_time(server).values()) - before
                    seen[name].append(used / result.operations)
            for name, costs in seen.items():
                ratios = [cost / kept for cost, kept in zip(costs, seen["kept"], strict=True)]
                low, _, high = quantiles(ratios)
                cells = f"{median(costs):,.0f}", f"{median(ratios):.2f}", f"{low:.2f} to {high:.2f}"
                table.add_row(work, name, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
