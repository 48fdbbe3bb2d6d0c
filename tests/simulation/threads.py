"""Threads that run one at a time, when the simulated loop says so.

Each is a real thread that runs only during one callback of the loop, while the loop's own thread
waits. A baton (a lock) passes between the two. The thread returns the baton where another thread
could run before a real one continues: when it starts, where it waits, at the server's failpoints,
in the disk's sync. The delay until it continues is random.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.simulation.loop import Defect, SimulatedLoop

WAKE = (0.0, 0.0, 0.0, 0.0001, 0.001)
"""Seconds until a thread that may continue does so. Few values, so that many things coincide."""

WORK = (0.0, 0.0, 0.0001, 0.001, 0.005, 0.02, 0.1)
"""Seconds for which a thread is busy, or others run before it continues."""

WORKERS = 4
"""Threads of the default executor."""

_RealThread = threading.Thread


def _baton() -> threading.Lock:
    """Make a lock that is held, so that acquiring it waits until another thread releases it."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Killed(BaseException):
    """Ends a thread whose simulation is over."""


class Threads:
    """The threads, queues and executors of one simulation."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.alive: set[SimulatedThread] = set()
        self.running: SimulatedThread | None = None
        self.over = False
        self._loop_may_go_on = _baton()
        self._pools: dict[Any, Pool] = {}

    def resume(self, thread: "SimulatedThread") -> None:
        """Let a thread run until it waits or ends. Called by the loop, as a callback."""
        if thread.ended:
            return
        loop = self.loop
        loop.trace.note(f"  {thread.name}")
        self.running, before, loop.origin = thread, loop.origin, thread
        thread.may_go_on.release()
        self._loop_may_go_on.acquire()
        self.running, loop.origin = None, before

    def park(self) -> None:
        """Stop the running thread until it is resumed."""
        thread = self.running
        if thread is None:
            raise Defect("the event loop's thread would wait for another")
        self._loop_may_go_on.release()
        thread.may_go_on.acquire()
        if self.over:
            raise Killed

    def pause(self) -> None:
        """Let other threads run before the running one continues. No effect on the event loop."""
        if thread := self.running:
            self.loop.later(WORK, self.resume, thread)
            self.park()

    def sleep(self, seconds: float) -> None:
        """Let time pass for the running thread."""
        if thread := self.running:
            self.loop.call_later(seconds, self.resume, thread)
            self.park()

    def wake(self, thread: "SimulatedThread") -> None:
        """Resume a parked thread, a little later."""
        self.loop.later(WAKE, self.resume, thread)

    def left(self, thread: "SimulatedThread") -> None:
        """Return the baton for the last time: the thread has ended."""
        self.alive.discard(thread)
        if not self.over:
            self._loop_may_go_on.release()

    def pool(self, executor: ThreadPoolExecutor | None) -> "Pool":
        """Return the pool that replaces an executor; None is the default one."""
        if executor not in self._pools:
            workers = executor._max_workers if executor else WORKERS
            self._pools[executor] = Pool(self, workers)
        return self._pools[executor]

    def run_in_executor(self, executor: Any, work: Callable[..., Any], *args: Any) -> Any:
        """Replaces the loop's own method."""
        return self.pool(executor).submit(lambda: work(*args))

    def close(self) -> None:
        """End the threads that are left, as there may be after a simulation that has failed."""
        self.over = True
        for thread in list(self.alive):
            thread.may_go_on.release()
            thread.machine.join()


class SimulatedThread:
    """Replaces threading.Thread."""

    def __init__(
        self,
        threads: Threads,
        target: Callable[..., object],
        name: str = "thread",
        args: tuple[Any, ...] = (),
        daemon: bool | None = None,  # noqa: ARG002  a simulated one ends with its simulation
    ) -> None:
        self.name = name
        self.may_go_on = _baton()
        self.ended = False
        self.machine = _RealThread(target=self._run, name=name, daemon=True)
        self._threads = threads
        self._target, self._args = target, args
        self._joining: list[SimulatedThread] = []

    def start(self) -> None:
        self._threads.alive.add(self)
        self.machine.start()
        self._threads.wake(self)

    def is_alive(self) -> bool:
        return not self.ended

    def join(self, timeout: float | None = None) -> None:
        assert timeout is None
        if not self.ended:
            assert self._threads.running
            self._joining.append(self._threads.running)
            self._threads.park()

    def _run(self) -> None:
        self.may_go_on.acquire()
        threads = self._threads
        try:
            if not threads.over:
                with threads.loop.bounded():
                    self._target(*self._args)
        except Killed:
            pass
        except BaseException as error:
            threads.loop.fail(Defect(f"the thread {self.name} ended with {error!r}"), error)
        finally:
            self.ended = True
            if not threads.over:
                for thread in self._joining:
                    threads.wake(thread)
            threads.left(self)


class SimulatedQueue:
    """Replaces queue.SimpleQueue."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._items: list[Any] = []
        self._waiting: list[SimulatedThread] = []

    def put(self, item: Any) -> None:
        self._items.append(item)
        if self._waiting:
            self._threads.wake(self._waiting.pop(0))

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        while not self._items:
            thread = self._threads.running
            if not block:
                raise queue.Empty
            if thread is None:
                raise Defect("the event loop's thread would wait for a queue")
            self._waiting.append(thread)
            timer = None
            if timeout is not None:
                timer = self._threads.loop.call_later(timeout, self._threads.resume, thread)
            self._threads.park()
            if timer:
                timer.cancel()
            if thread in self._waiting:  # the timer woke it
                self._waiting.remove(thread)
                if not self._items:
                    raise queue.Empty
        return self._items.pop(0)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)


class Pool:
    """The work of one executor: at most `workers` jobs at once, the others queue."""

    def __init__(self, threads: Threads, workers: int) -> None:
        self._threads = threads
        self._workers = workers
        self._jobs: list[tuple[Callable[[], Any], Any]] = []
        self._busy = 0
        self._shut = False
        self._joining: list[SimulatedThread] = []

    def submit(self, work: Callable[[], Any]) -> Any:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        done = self._threads.loop.create_future()
        self._jobs.append((work, done))
        if self._busy < self._workers:
            self._busy += 1
            SimulatedThread(self._threads, self._work, "executor").start()
        return done

    def shutdown(self, wait: bool = True) -> None:
        self._shut = True
        while wait and self._busy:
            assert self._threads.running
            self._joining.append(self._threads.running)
            self._threads.park()

    def _work(self) -> None:
        loop = self._threads.loop
        while self._jobs:
            work, done = self._jobs.pop(0)
            if done.cancelled():
                continue
            self._threads.pause()
            try:
                outcome, settle = work(), _result
            except Exception as error:
                outcome, settle = error, _error
            self._threads.pause()
            loop.call_soon_threadsafe(settle, done, outcome)
        self._busy -= 1
        while self._joining and not self._busy:
            self._threads.wake(self._joining.pop())


def _result(done: Any, value: Any) -> None:
    if not done.done():
        done.set_result(value)


def _error(done: Any, error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
