"""The servers of one benchmark run, and their boards."""

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
    """The duration of each load, in seconds, and the size of the boards."""

    seconds: float
    listed: int
    """Contracts in a list."""
    snapshot: int
    """Phases in a snapshot; it has as many claims, and ten times as many contracts."""
    writes: int
    """Writes that the watchers receive."""
    watchers: int
    calls: int
    """Calls of a client whose median is taken."""
    growth: int
    """Size of the large board, as a multiple of the small one."""
    held: int
    """Contracts on the board of the server whose memory is measured."""


FULL = Scale(2.0, 5_000, 1_000, 1_000, 100, 2_000, 100, 100_000)
QUICK = Scale(0.4, 1_000, 100, 200, 20, 200, 10, 10_000)
SMALLEST = Scale(0.1, 100, 10, 20, 3, 20, 2, 100)

PHASES = 100
CONTRACTS = 1_000
"""Contracts of the small board. The large board has `growth` times as many, and as many events."""


class Skipped(Exception):
    """A row cannot be measured on this machine. The text says why."""


class Bench:
    """Starts each server when it is first needed, and stops all of them at the end."""

    def __init__(self, directory: Path, scale: Scale) -> None:
        """Build the load generator. Raises Skipped if Go is not installed."""
        if not shutil.which("go"):
            raise Skipped("Go is not installed; the load generator needs it")
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
        """Run one load for the duration of the scale."""
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
        """A second, identical board server: the difference of the two is noise."""
        return self._running.enter_context(servers.board(self._filled("twin")))

    @cache  # noqa: B019  a Bench lives as long as the program
    def variant(self, *changes: str) -> servers.Server:
        """Serve the board with changes of benchmarks.variants, from its own directory."""
        directory = self._filled("-".join(changes))
        return self._running.enter_context(servers.board(directory, changes=",".join(changes)))

    @cached_property
    def etcd(self) -> servers.Server:
        """An etcd that holds as many bytes as the boards. Raises Skipped if it is not installed."""
        if not shutil.which("etcd"):
            raise Skipped("etcd is not installed (Debian: apt-get install etcd-server)")
        server = self._running.enter_context(servers.etcd(self.directory / "etcd"))
        many = self.scale.snapshot
        sizes = [data.CONTRACT] * (10 * many) + [data.PHASE] * many + [data.CLAIM] * many
        puts = [data.put("listed", number) for number in range(self.scale.listed)]
        puts += [data.put("snapshot", number, size=size) for number, size in enumerate(sizes)]
        data.fill_etcd(server.address, puts)
        return server

    def _filled(self, name: str) -> Path:
        """Create a directory with a small and a large board."""
        return Path(shutil.copytree(self._boards, self.directory / name))

    @cached_property
    def _boards(self) -> Path:
        directory = self.directory / "boards"
        for name, times in (("small", 1), ("large", self.scale.growth)):
            data.fill_board(directory, name, phases=PHASES * times, contracts=CONTRACTS * times)
        return directory
