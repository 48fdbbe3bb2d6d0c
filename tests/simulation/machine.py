"""The machine that a simulated server runs on.

This module has the only list of what is replaced: the server's clocks, random numbers, threads,
disk and network. If the server no longer has one of these names, the simulation fails at once.
"""

import concurrent.futures
import queue
import random
import secrets
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import apsw
import grpc

from board_server import failpoints
from board_server.rpc import server
from board_server.rpc.limits import Limiter
from board_server.sqlite import leases
from board_server.watch import waiters
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.threads import SimulatedQueue, SimulatedThread, Threads

BEGINNING = datetime(2026, 2, 23, 5, 3, 45, tzinfo=UTC)


class Machine:
    """The simulated parts, as the scenario uses them."""

    def __init__(self, loop: SimulatedLoop, threads: Threads, disk: SimulatedDisk) -> None:
        self.loop, self.threads, self.disk = loop, threads, disk
        self.limiters: list[Limiter] = []
        """The limiters of all servers; the check at the end reads them."""

    def limiter(self, limits: Any) -> Limiter:
        """Make a Limiter and keep it; replaces the class in the server."""
        self.limiters.append(Limiter(limits))
        return self.limiters[-1]

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.loop.time())


@contextmanager
def simulated(loop: SimulatedLoop, network: Network, seed: object) -> Iterator[Machine]:
    """Replace the real machine by the simulated one until the end of the block."""
    threads = Threads(loop)
    chance = random.Random(f"{seed} identities")
    default = apsw.vfs_names()[0]
    machine = Machine(loop, threads, SimulatedDisk(threads))

    class Clock(datetime):
        @classmethod
        def now(cls, _tz: Any = None) -> datetime:
            return machine.now()

    def failpoint(_name: str) -> None:
        threads.pause()

    def shutdown(executor: Any, wait: bool = True, **_: Any) -> None:
        threads.pool(executor).shutdown(wait)

    def number(thing: Any) -> int:
        return thing.__dict__.setdefault("_simulated_number", loop.number())

    replaced: list[tuple[Any, str, Any]] = [
        (time, "monotonic", loop.time),
        (time, "perf_counter", loop.time),
        (leases, "datetime", Clock),
        (secrets, "token_hex", lambda size=32: chance.randbytes(size).hex()),
        (uuid, "uuid4", lambda: uuid.UUID(bytes=chance.randbytes(16))),
        (threading, "Thread", partial(SimulatedThread, threads)),
        (concurrent.futures.ThreadPoolExecutor, "shutdown", shutdown),
        (loop, "run_in_executor", threads.run_in_executor),
        (grpc.aio, "server", network.new_server),
        (grpc.aio, "insecure_channel", network.new_channel),
        (server, "Limiter", machine.limiter),
        # The order of iteration over a set of waiters must not depend on their addresses.
        (waiters.Waiter, "__hash__", number),
    ]
    replaced += _wherever_imported(queue, "SimpleQueue", partial(SimulatedQueue, threads))
    replaced += _wherever_imported(time, "perf_counter", loop.time)
    replaced += _wherever_imported(failpoints, "failpoint", failpoint)
    with ExitStack() as stack:
        stack.callback(machine.disk.unregister)
        stack.callback(apsw.set_default_vfs, default)
        stack.callback(threads.close)
        for owner, name, stand_in in replaced:
            stack.enter_context(patch.object(owner, name, stand_in))
        yield machine


def _wherever_imported(home: Any, name: str, stand_in: Any) -> list[tuple[Any, str, Any]]:
    """Find the server's modules that have imported this name with `from ... import`."""
    real = getattr(home, name)
    modules = [module for at, module in sys.modules.items() if at.startswith("board_server")]
    found = [(module, name, stand_in) for module in modules if vars(module).get(name) is real]
    assert found, f"nothing of the server imports {name} from {home.__name__} any more"
    return found
