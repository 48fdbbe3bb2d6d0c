"""The servers of one run, what they hold, and the load on them."""

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import data, servers
from benchmarks.load import Generator, Load, Result, Step


@dataclass(frozen=True)
class Scale:
    """How long each load runs, in seconds, and how much there is of everything."""

    seconds: float
    listed: int
    """Contracts in the list."""
    snapshot: int
    """Phases and claims in the snapshot, and a tenth of its contracts."""
    writes: int
    """Writes that are watched."""
    watchers: int
    calls: int
    """Calls of a client, to find their median."""
    growth: int
    """How many times more a large board holds than a small one."""
    held: int
    """Contracts of the server whose memory is measured."""


FULL = Scale(2.0, 5_000, 1_000, 1_000, 100, 2_000, 100, 100_000)
QUICK = Scale(0.4, 1_000, 100, 200, 20, 200, 10, 10_000)
SMALLEST = Scale(0.1, 100, 10, 20, 3, 20, 2, 100)

PHASES = 100
CONTRACTS = 1_000
"""What the small board holds; the large one `growth` times as much, and as many events."""


class Skipped(Exception):
    """Something cannot be measured here. Its text says why."""


class Bench:
    """Starts each server when it is first needed, and ends them all."""

    def __init__(self, directory: Path, scale: Scale) -> None:
        """Build the load generator. Raises Skipped where there is no Go."""
        if not shutil.which("go"):
            raise Skipped("no Go here, which the load generator is written in")
        self.directory = directory
        self.scale = scale
        self.generator = Generator(directory)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.close()

    def load(self, server: servers.Server, *steps: Step, connections: int) -> Result:
        """Run one load for as long as the scale says."""
        seconds = self.scale.seconds
        load = Load(steps, connections, seconds, warm_up=min(0.3, seconds))
        return self.generator.run(server.address, load)[0]

    @cached_property
    def echo(self) -> servers.Server:
        """A bare echo."""
        return self._running.enter_context(servers.echo())

    @cached_property
    def board(self) -> servers.Server:
        """The board."""
        directory = self._filled("board")
        data.fill_board(directory, "listed", contracts=self.scale.listed)
        many = self.scale.snapshot
        data.fill_board(directory, "snapshot", phases=many, contracts=10 * many, claims=many)
        return self._running.enter_context(servers.board(directory))

    @cached_property
    def poller(self) -> servers.Server:
        """Serve the board on the engine that `--engine poller` chooses."""
        directory = self._filled("poller")
        return self._running.enter_context(servers.board(directory, changes="poller"))

    @cached_property
    def twin(self) -> servers.Server:
        """Serve the board once more: what two equal servers differ by is noise."""
        return self._running.enter_context(servers.board(self._filled("twin")))

    @cache  # noqa: B019  lives as long as the program
    def variant(self, *changes: str) -> servers.Server:
        """Serve the board with something changed, from a directory of its own."""
        directory = self._filled("-".join(changes))
        return self._running.enter_context(servers.board(directory, changes=",".join(changes)))

    @cached_property
    def etcd(self) -> servers.Server:
        """An etcd with the bytes of the boards. Raises Skipped where it is not installed."""
        if not shutil.which("etcd"):
            raise Skipped("no etcd here (Debian: apt-get install etcd-server)")
        server = self._running.enter_context(servers.etcd(self.directory / "etcd"))
        many = self.scale.snapshot
        sizes = [data.CONTRACT] * (10 * many) + [data.PHASE] * many + [data.CLAIM] * many
        puts = [data.put("listed", number) for number in range(self.scale.listed)]
        puts += [data.put("snapshot", number, size=size) for number, size in enumerate(sizes)]
        data.fill_etcd(server.address, puts)
        return server

    def _filled(self, name: str) -> Path:
        """Make a directory with a small and a large board in it."""
        return Path(shutil.copytree(self._boards, self.directory / name))

    @cached_property
    def _boards(self) -> Path:
        directory = self.directory / "boards"
        for name, times in (("small", 1), ("large", self.scale.growth)):
            data.fill_board(directory, name, phases=PHASES * times, contracts=CONTRACTS * times)
        return directory
