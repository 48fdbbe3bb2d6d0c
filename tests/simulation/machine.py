"""The machine that a simulated server runs on: all that it takes from the real one, replaced.

This is the one list of where the server meets time, chance, threads, the disk and the network.
A name that has gone from the server makes the simulation fail at once, not pass.
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
        """Those of all servers, to be looked at in the end."""

    def limiter(self, limits: Any) -> Limiter:
        """Stands in for Limiter, which it makes."""
        self.limiters.append(Limiter(limits))
        return self.limiters[-1]

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.loop.time())


@contextmanager
def simulated(loop: SimulatedLoop, network: Network, seed: object) -> Iterator[Machine]:
    """Put the simulated machine in the place of the real one, until the end of the block."""
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
        # Sets of these are gone through in an order that must not depend on addresses.
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
    """Find the server's modules that have imported a name by itself."""
    real = getattr(home, name)
    modules = [module for at, module in sys.modules.items() if at.startswith("board_server")]
    found = [(module, name, stand_in) for module in modules if vars(module).get(name) is real]
    assert found, f"nothing of the server imports {name} from {home.__name__} any more"
    return found
