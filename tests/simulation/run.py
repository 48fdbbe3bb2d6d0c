"""One simulation: a server with its restarts, clients and failures, and what must hold."""

import asyncio
import gc
import logging
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw

from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.model import Cause, Change, Commit
from board_server.rpc import handlers
from board_server.rpc.server import serving
from board_server.sqlite import SqliteStore
from tests.faults.disk import error
from tests.simulation.clients import Client, World
from tests.simulation.history import PROMPT, Checker, check_watched, evidence, session_ends
from tests.simulation.loop import Defect, SimulatedLoop, Trace
from tests.simulation.machine import BEGINNING, Machine, simulated
from tests.simulation.network import ADDRESS, SERVICE, Faults, Network, ServerCall

MAX_BOARDS = 4

KEPT = ("kept", "spare")
"""Boards whose files are never deleted; each call to them is checked."""

Part = Coroutine[Any, Any, None]

GRACE = 5.0

QUIET = 40.0
"""Seconds without failures at the end, after which all that is due must have happened."""

TOO_LONG = 3600.0
"""Seconds that a whole simulation may take."""


MIXES: dict[str, dict[str, tuple[int, ...]]] = {
    "all": {
        "workers": (2, 4, 8),
        "readers": (1, 2),
        "keepers": (3,),
        "watchers": (1, 3),
        "waiters": (2, 4),
        "pollers": (0, 8),
        "deleted": (0, 3),
    },
    "openings": {
        "workers": (1, 2),
        "readers": (0, 1),
        "keepers": (1,),
        "watchers": (1,),
        "waiters": (0,),
        "pollers": (8, 16),
        "deleted": (4, 6),
    },
    "reads": {
        "workers": (4, 8),
        "readers": (6, 8),
        "keepers": (0,),
        "watchers": (1,),
        "waiters": (0,),
        "pollers": (0,),
        "deleted": (0,),
    },
    "waits": {
        "workers": (4, 8),
        "readers": (0,),
        "keepers": (1,),
        "watchers": (1,),
        "waiters": (8, 12),
        "pollers": (0,),
        "deleted": (0,),
    },
}
"""By name of the mix, how many clients of each kind it may have, and boards whose files are
deleted. A mix with many clients of one kind finds defects that "all" does not."""


@dataclass(frozen=True)
class Plan:
    """The parameters of a simulation, all of them drawn from the seed."""

    mix: str
    number: dict[str, int]
    disorder: float
    weather: Faults
    lives: int
    calls: int
    idle_timeout: float
    disk_fails: bool

    @classmethod
    def draw(cls, seed: object) -> "Plan":
        chance = random.Random(f"{seed} plan")
        draw = chance.choice
        mix = draw(list(MIXES))
        return cls(
            mix=mix,
            number={sort: draw(numbers) for sort, numbers in MIXES[mix].items()},
            disorder=draw((0.0, 0.1, 0.5)),
            weather=Faults(late=draw((0.0, 0.0, 0.05)), lost=draw((0.0, 0.02, 0.1))),
            lives=draw((1, 1, 2)),
            calls=draw((10, 20, 30)),
            idle_timeout=draw((1.0, 5.0, 60.0)),
            disk_fails=draw((False, False, True)),
        )


@dataclass(frozen=True)
class Report:
    """The figures of a simulation that found no defect."""

    plan: Plan
    hash: str
    steps: int
    operations: int
    commits: int


class Simulation:
    """One run of one seed."""

    def __init__(self, seed: object, directory: Path, machine: Machine, network: Network) -> None:
        self.seed = seed
        self.plan = Plan.draw(seed)
        self.directory = directory
        self.machine = machine
        self.loop = machine.loop
        self.world = World(machine.loop, network, directory)
        self.chance = random.Random(f"{seed} scenario")
        self.deleted = [f"deleted-{n}" for n in range(self.plan.number["deleted"])]
        network.excused = self.excused
        self.commits = 0

    def excused(self, call: ServerCall) -> bool:
        """Return whether a call may be answered INTERNAL: its board's files were deleted meanwhile.

        The server cannot know whether its commit has happened.
        """
        name = call.method.removeprefix(SERVICE)
        request = getattr(pb, f"{name}Request").FromString(call.request)
        return self.world.deleted.get(request.board, 0.0) >= call.sent

    async def run(self) -> None:
        async with asyncio.timeout(TOO_LONG):
            for _ in range(self.plan.lives - 1):
                async with self._served() as store:
                    await self._busy(store)
            async with self._served() as store:
                await self._busy(store)
                await self._quiet(store)
        await asyncio.sleep(1.0)  # for the jobs of the default executor
        self._nothing_is_left()

    def _served(self) -> Any:
        return _served(self)

    async def _busy(self, store: SqliteStore) -> None:
        """Run the clients, until those have ended whose number of calls is limited."""
        every = [*KEPT, *self.deleted]
        calls = self.plan.calls
        active = [
            *self._each("workers", lambda c, n: c.work(every if n % 2 else list(KEPT), calls)),
            *self._each("readers", lambda c, n: c.read(KEPT[n % 2], calls // 2)),
            *self._each("keepers", lambda c, n: c.keep_a_session(KEPT[n % 2], 5)),
            *self._each("waiters", lambda c, n: c.wait(KEPT[n % 2], calls // 2)),
        ]
        if self.deleted:
            active += self._each("pollers", lambda c, _: c.poll(self.deleted, calls))
            active += [
                self._client(f"dispatcher-{n}").dispatch(self.deleted, calls) for n in range(2)
            ]
        lasting = [
            *self._each("watchers", lambda c, n: c.watch(KEPT[n % 2])),
            *self._each("waiters", lambda c, n: c.wait_for_good(KEPT[n % 2])),
        ]
        lasting.append(self._scrape(store))
        if self.plan.disk_fails:
            lasting.append(self._break_the_disk())
        self._lasting = [asyncio.create_task(self._played(each)) for each in lasting]
        await asyncio.gather(*map(self._played, active))

    async def _played(self, part: Part) -> None:
        """Run a client's part; an exception in it ends the simulation."""
        try:
            await part
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.loop.fail(error)

    def _each(self, sort: str, part: Callable[[Client, int], Part]) -> list[Part]:
        """Make as many clients of a kind as the plan says, each with its part."""
        numbers = range(self.plan.number[sort])
        return [part(self._client(f"{sort}-{n}"), n) for n in numbers]

    def _client(self, name: str) -> Client:
        return Client(self.world, name, f"{self.seed} {self.loop.steps}")

    async def _scrape(self, store: SqliteStore) -> None:
        """Read the statistics of the boards now and then, as Prometheus does."""
        while True:
            await asyncio.sleep(self.chance.choice((1.0, 5.0)))
            await store.stats()

    async def _break_the_disk(self) -> None:
        failures = (
            error(apsw.FullError),
            error(apsw.IOError, apsw.SQLITE_IOERR_WRITE),
            error(apsw.IOError, apsw.SQLITE_IOERR_FSYNC),
        )
        while True:
            await asyncio.sleep(self.chance.choice((0.5, 5.0)))
            operations = self.chance.choice((("write",), ("sync",), ("write", "sync")))
            with self.machine.disk.fails(*operations, error=self.chance.choice(failures)):
                self.loop.trace.note(f"the disk fails: {operations}")
                await asyncio.sleep(self.chance.choice((0.001, 0.1, 2.0)))

    async def _leave(self) -> None:
        """Cancel the clients that would never end."""
        for task in self._lasting:
            task.cancel()
        await asyncio.gather(*self._lasting, return_exceptions=True)

    async def _quiet(self, store: SqliteStore) -> None:
        """Stop all failures, wait until all that is due has happened, and check the boards."""
        world = self.world
        world.network.weather = Faults(0.0, 0.0)
        self.machine.disk.failing.clear()
        if self.plan.disk_fails:
            self._lasting.pop().cancel()
        await asyncio.sleep(QUIET)
        for board in KEPT:
            if not world.histories[board].operations:
                continue
            await Client(world, "last", self.seed).call(
                "OpenBoard", pb.OpenBoardRequest(board=board)
            )
            await self._check(board, store)
        world.over = True
        await self._leave()

    async def _check(self, board: str, store: SqliteStore) -> None:
        commits: list[Commit] = []
        while more := await store.list_events(board, len(commits), 1 << 40):
            commits += more
        self.commits += len(commits)
        history = self.world.histories[board]
        checker = Checker(history, commits)
        checker.check()
        checker.check_cancelled(lambda commit: (commit.time - BEGINNING).total_seconds())
        self._no_session_ended_early(commits)
        state = checker.states[-1]
        if state.sessions:
            raise Defect(f"sessions live that nobody has renewed: {state.sessions}")
        for waiting in self.world.waiting.values():
            request = waiting.request
            if waiting.sent > self.loop.time() - PROMPT:
                continue
            if request.board == board and evidence(state, request) is not None:
                raise Defect(f"a WaitFor was forgotten: all that it asks for is there: {waiting}")
        for watched in history.watched:
            check_watched(watched, commits)

    def _no_session_ended_early(self, commits: list[Commit]) -> None:
        ttls = {
            event.record.session_id: event.record.ttl
            for commit in commits
            for event in commit.events
            if event.change is Change.SESSION_OPENED
        }
        for session_id, (ended, cause) in session_ends(commits).items():
            renewed = self.world.renewed.get(session_id)
            if cause is not Cause.SESSION_EXPIRED or renewed is None:
                continue
            due = BEGINNING + timedelta(seconds=renewed) + ttls[session_id]
            if ended < due:
                raise Defect(f"session {session_id} ended at {ended}, before {due}")

    def _nothing_is_left(self) -> None:
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            raise Defect(f"tasks are left: {sorted(task.get_name() for task in tasks)}")
        if left := self.machine.threads.alive:
            raise Defect(f"threads are left: {sorted(thread.name for thread in left)}")
        for limiter in self.machine.limiters:
            if left := {
                n: v for n, v in vars(limiter).items() if isinstance(v, int | Counter) and v
            }:
                raise Defect(f"calls are still counted: {left}")
        if files := list(_open_files(self.directory)):
            raise Defect(f"files are still open: {files}")


class _served:  # noqa: N801  reads as the function that it is
    """A server from its start to its end, over the simulated network."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        plan = simulation.plan
        self._store = SqliteStore(
            simulation.directory,
            clock=simulation.machine.now,
            max_boards=MAX_BOARDS,
            idle_timeout=plan.idle_timeout,
            pinned=KEPT[0],
        )
        config = Config(simulation.directory, KEPT[0], (ADDRESS,), grace=GRACE)
        self._serving = serving(self._store, config)

    async def __aenter__(self) -> SqliteStore:
        await self._serving.__aenter__()
        return self._store

    async def __aexit__(self, *error: Any) -> None:
        simulation = self._simulation
        simulation.machine.disk.failing.clear()
        async with asyncio.timeout(GRACE + 30):
            await self._serving.__aexit__(*error)
        if not simulation.world.over:
            await simulation._leave()


def _open_files(directory: Path) -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # one of the descriptors belongs to this listing
            path = descriptor.readlink()
            if path.is_relative_to(directory):
                yield str(path)


Mutant = AbstractContextManager[None]


def simulate(seed: object, mutant: Mutant | None = None, *, echo: bool = False) -> Report:
    """Run one seed; raise the defect that it finds. A seed does the same in every process."""
    trace = Trace(echo=echo)
    plan = Plan.draw(seed)
    loop = SimulatedLoop(random.Random(f"{seed} loop"), plan.disorder, trace)
    network = Network(loop, plan.weather)
    directory = Path(tempfile.mkdtemp(prefix="simulation-", dir=_fast()))
    try:
        with (
            _collected_by_hand(),
            mutant or nullcontext(),
            simulated(loop, network, seed) as machine,
        ):
            simulation = Simulation(seed, directory, machine, network)
            with _errors_in_the_log(loop, network):
                loop.run_until_complete(loop.create_task(simulation.run()))
            operations = sum(len(h.operations) for h in simulation.world.histories.values())
            return Report(plan, trace.hash(), loop.steps, operations, simulation.commits)
    finally:
        loop.close()
        shutil.rmtree(directory, ignore_errors=True)


def _fast() -> str | None:
    """Return a directory in memory; None, for the default one, if the system has none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def _collected_by_hand() -> Iterator[None]:
    """Turn off the garbage collector, which could run at a different moment in each run."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _errors_in_the_log(loop: SimulatedLoop, network: Network) -> Iterator[None]:
    """Report an exception that the server logs as a defect, unless the simulated disk raised it."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not record.exc_info:
                return
            network.logged = record.exc_info[1]
            answered = record.name == handlers.__name__  # its call's answer is checked instead
            if not answered and not isinstance(network.logged, apsw.Error):
                loop.fail(Defect(record.getMessage()), network.logged)

    log, handler = logging.getLogger("board_server"), Handler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
