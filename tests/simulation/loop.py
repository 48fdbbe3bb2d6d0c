"""An event loop without a clock, a selector or a thread of its own: a function of its seed.

The clock does not move while any callback is ready, and jumps to the next timer when none is, as
Trio's autojump_clock does. The next callback is chosen at random. Callbacks that one callback or
one thread has registered keep their order, as asyncio promises; others may not.
"""

import asyncio
import heapq
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from typing import Any

MAX_STEPS = 50_000
"""Callbacks that may run before the clock moves."""

MAX_CALLS = 1_000_000
"""Python and C functions that one callback may call."""


class Defect(BaseException):
    """A defect that a simulation has found. A BaseException, so `except Exception` misses it."""


class Livelock(Defect):
    """A callback that does not end, or callbacks that follow each other without end."""


class Deadlock(Defect):
    """No callback is ready, and no timer is set."""


class Trace:
    """A digest of all that happened, in order. With `echo`, each line is printed too."""

    def __init__(self, *, echo: bool = False) -> None:
        self._digest = blake2b(digest_size=16)
        self._echo = echo

    def note(self, line: str) -> None:
        self._digest.update(line.encode())
        if self._echo:
            print(line)  # noqa: T201  `python -m tests.simulation --trace`

    def hash(self) -> str:
        return self._digest.hexdigest()


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks one at a time.

    `disorder` is the probability that a callback other than the oldest one is chosen next.
    """

    def __init__(self, chance: random.Random, disorder: float, trace: Trace) -> None:
        super().__init__()
        self.chance = chance
        self.trace = trace
        self.steps = 0
        self.origin: object = 0
        """What registers callbacks now: the step with this number, or a simulated thread."""
        self.defect: BaseException | None = None
        self._disorder = disorder
        self._now = 1000.0
        self._moved_at = 0
        self._line: list[tuple[object, asyncio.Handle]] = []  # the callbacks that are ready
        self._numbers = count(1)
        self._calls_left = 0
        self.set_task_factory(SimulatedTask.make)
        self.set_exception_handler(_fail)

    def time(self) -> float:
        return self._now

    def number(self) -> int:
        """Return the next number for an object; its address would differ from run to run."""
        return next(self._numbers)

    def create_future(self) -> asyncio.Future[Any]:
        return SimulatedFuture(self)

    def fail(self, defect: BaseException, cause: BaseException | None = None) -> None:
        """End the run with the first defect, even if the code under test catches the exception."""
        defect.__cause__ = cause or defect.__cause__
        self.defect = self.defect or defect

    def later(self, delays: tuple[float, ...], callback: Callable[..., Any], *args: Any) -> None:
        """Run a callback after one of the delays, chosen at random."""
        self.call_later(self.chance.choice(delays), callback, *args)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def _call_soon(self, callback: Any, args: Any, context: Any) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._line.append((self.origin, handle))
        return handle

    def _run_once(self) -> None:
        if not self._line:
            self._jump()
        handle = self._next()
        if handle.cancelled():
            return
        self.steps += 1
        self.origin = self.steps
        self.trace.note(f"{self.steps} {self._now:.6f} {_name(handle)}")
        if self.steps - self._moved_at > MAX_STEPS:
            self.fail(Livelock(f"{MAX_STEPS:,} callbacks ran, and the clock did not move"))
        else:
            with self.bounded():
                handle._run()
        if self.defect:
            raise self.defect

    def _jump(self) -> None:
        """Move the clock to the next timer, and make ready all that are due then."""
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            tasks = "\n".join(sorted(_described(task) for task in asyncio.all_tasks(self)))
            raise Deadlock(f"nothing is ready and no timer is set; what waits:\n{tasks}")
        self._now = max(self._now, self._scheduled[0].when())
        self._moved_at = self.steps
        while self._scheduled and self._scheduled[0].when() <= self._now:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            self._line.append((timer, timer))

    def _next(self) -> asyncio.Handle:
        chosen = 0
        if len(self._line) > 1 and self.chance.random() < self._disorder:
            origin = self._line[self.chance.randrange(len(self._line))][0]
            chosen = next(n for n, (of, _) in enumerate(self._line) if of is origin or of == origin)
        return self._line.pop(chosen)[1]

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Limit the number of calls that this thread makes until the end of the block.

        This finds a loop whose awaits never yield, after the same call in every run.
        """
        self._calls_left = MAX_CALLS
        before = sys.getprofile()
        sys.setprofile(self._count)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _count(self, frame: Any, _event: str, _: Any) -> None:
        self._calls_left -= 1
        if self._calls_left < 0:
            where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
            self.fail(Livelock(f"a callback has made {MAX_CALLS:,} calls and did not end: {where}"))
            raise self.defect  # type: ignore[misc]

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""


class SimulatedFuture(asyncio.Future[Any]):
    """A future whose place in a set does not depend on its address."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.number = loop.number()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SimulatedTask(asyncio.Task[Any]):
    """A task whose name and place in a set are the same in every run."""

    def __init__(self, coro: Any, loop: SimulatedLoop, **more: Any) -> None:
        self.number = loop.number()
        super().__init__(coro, loop=loop, **more)
        name = getattr(coro, "__qualname__", type(coro).__name__)
        self.set_name(f"{name} {self.number}")

    def __hash__(self) -> int:
        return self.number

    @classmethod
    def make(cls, loop: Any, coro: Any, **more: Any) -> "SimulatedTask":
        return cls(coro, loop, **more)


def _fail(loop: Any, context: dict[str, Any]) -> None:
    """End the run with an error that reached the loop, as no code has handled it."""
    error = context.get("exception")
    if isinstance(error, Defect):
        loop.fail(error)
        return
    loop.fail(Defect(f"{context['message']}: {error!r}"), error)


def _name(handle: asyncio.Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, SimulatedTask):
        return owner.get_name()
    while hasattr(callback, "func"):
        callback = callback.func
    return getattr(callback, "__qualname__", type(callback).__name__)


def _described(task: "asyncio.Task[Any]") -> str:
    stack = task.get_stack()
    where = f"{stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else "at its end"
    return f"  {task.get_name()} {where}"
