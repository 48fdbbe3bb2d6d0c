"""Metrics for Prometheus: of calls, of commits, and of open boards."""

import asyncio
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from itertools import accumulate
from math import inf

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from board_server.errors import CannotListen
from board_server.model import BoardStats, Following
from board_server.wire.methods import LONG_RUNNING

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

SCRAPE_TIMEOUT = 5.0
"""Seconds that a scrape waits for the statistics of the boards."""

Answered = Callable[[str, float], None]
"""Records the end of a call: the name of its status code, and its duration in seconds."""

StatsOf = Callable[[], Awaitable[Sequence[BoardStats]]]
FollowingOf = Callable[[], Iterable[Following]]


class Metrics:
    """The registry of one server, and the methods that record to it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Info("board_build", "Version of the server.", registry=self.registry).info(
            {"version": version("quasar-board")}
        )
        self._calls = _Calls()
        self.registry.register(self._calls)
        self._batch = Histogram(
            "board_writer_batch_calls",
            "Calls in one commit.",
            ["board"],
            buckets=BATCHES,
            registry=self.registry,
        )
        self._sync = Histogram(
            "board_writer_sync_seconds",
            "Time of one commit, including its sync to disk.",
            ["board"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def answered(self, method: str) -> Answered:
        """Return the function that records the calls of a method. For one thread only."""
        return self._calls.of(method)

    def committed(self, board: str, calls: int, seconds: float) -> None:
        """Record a commit. Called in the writer's thread."""
        self._batch.labels(board).observe(calls)
        self._sync.labels(board).observe(seconds)

    def closed(self, board: str) -> None:
        """Remove the metrics of a closed board: over time there may be many boards."""
        self._batch.remove(board)
        self._sync.remove(board)

    @contextmanager
    def reading(
        self,
        stats_of: StatsOf,
        following_of: FollowingOf,
        calls: Callable[[], int],
        held: Callable[[], int],
    ) -> Iterator[None]:
        """Collect the statistics of the boards, on this event loop, when the metrics are read."""
        loop = asyncio.get_running_loop()
        boards = _Boards(loop, stats_of, following_of)
        active = Gauge("board_rpcs_active", "Calls in progress.", registry=self.registry)
        active.set_function(calls)
        bytes_held = Gauge(
            "board_held_bytes",
            "Bytes of requests, waits and unread replies in memory.",
            registry=self.registry,
        )
        bytes_held.set_function(held)
        self.registry.register(boards)
        try:
            yield
        finally:
            self.registry.unregister(boards)
            self.registry.unregister(active)
            self.registry.unregister(bytes_held)


class _Calls(Collector):
    """The calls that have ended.

    Plain numbers, which the event loop increments and Prometheus' thread reads: the library's
    own counters take a lock on every call.
    """

    def __init__(self) -> None:
        self._methods: dict[str, tuple[Counter[str], _Seconds]] = {}

    def of(self, method: str) -> Answered:
        """Return the function that records the calls of a method."""
        codes, seconds = self._methods[method] = Counter(), _Seconds()
        timed = method not in LONG_RUNNING  # the duration of these depends on the client

        def answered(code: str, took: float) -> None:
            codes[code] += 1
            if timed:
                seconds.buckets[bisect_left(SECONDS, took)] += 1
                seconds.sum += took

        return answered

    def collect(self) -> Iterable[Metric]:
        """Return the numbers of methods that were called."""
        calls = CounterMetricFamily(
            "board_rpcs", "Calls that have ended.", labels=["method", "code"]
        )
        durations = HistogramMetricFamily(
            "board_rpc_duration_seconds",
            "Time from a call's arrival to its end, except Watch and WaitFor.",
            labels=["method"],
        )
        for method, (codes, seconds) in self._methods.items():
            for code, number in codes.copy().items():
                calls.add_metric([method, code], number)
            if any(seconds.buckets):
                durations.add_metric([method], seconds.cumulative(), seconds.sum)
        return [calls, durations]


class _Seconds:
    """A histogram with the buckets SECONDS."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def cumulative(self) -> list[tuple[str, float]]:
        """Return the buckets in Prometheus' form: each includes all before it."""
        return list(
            zip(map(floatToGoString, (*SECONDS, inf)), accumulate(self.buckets), strict=True)
        )


class _Boards(Collector):
    """The statistics of boards. Runs in the thread of Prometheus' request."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stats_of: StatsOf, following_of: FollowingOf
    ) -> None:
        self._loop = loop
        self._stats_of = stats_of
        self._following_of = following_of

    def describe(self) -> Iterable[Metric]:
        """Return the names, which a registry needs before there is a board."""
        return [*_stats([]), *_following([])]

    def collect(self) -> Iterable[Metric]:
        """Get the statistics from the event loop."""
        asking = asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
        try:
            stats, following = asking.result(SCRAPE_TIMEOUT)
        except TooLate:
            asking.cancel()
            return []
        return [*_stats(stats), *_following(following)]

    async def _ask(self) -> tuple[Sequence[BoardStats], list[Following]]:
        return await self._stats_of(), list(self._following_of())


def _stats(stats: Iterable[BoardStats]) -> list[Metric]:
    texts = {
        "revision": "Revision of the board.",
        "phases": "Phases on the board.",
        "contracts": "Contracts on the board.",
        "claims": "Files that are claimed.",
        "sessions": "Live sessions.",
        "writer_queue": "Writes that wait for the writer.",
        "wal_bytes": "Size of the write-ahead log.",
    }
    return _families(texts, stats)


def _following(following: Iterable[Following]) -> list[Metric]:
    texts = {
        "watchers": "Watch calls in progress.",
        "waiters": "WaitFor calls in progress.",
        "revisions_behind": "Revisions not yet sent to the slowest watcher.",
        "bytes_behind": "Bytes queued for the watcher with the longest queue.",
    }
    return _families(texts, following)


def _families(texts: dict[str, str], records: Iterable[BoardStats | Following]) -> list[Metric]:
    """Make a gauge for each field, with a sample for each board."""
    families: list[Metric] = []
    kept = list(records)
    for field, text in texts.items():
        family = GaugeMetricFamily(f"board_{field}", text, labels=["board"])
        for record in kept:
            family.add_metric([record.board], getattr(record, field))
        families.append(family)
    return families


MAX_READERS = 16
"""Connections at the same time; to accept another, the oldest is closed."""

IO_TIMEOUT = 5.0
"""Seconds that a client has to send its request, and then again to read the reply."""

MAX_HEAD = 8 * 2**10
"""Most bytes of a request's head."""


class _Readers:
    """Answers HTTP requests for the metrics, one per connection."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # A thread of its own, because collecting may have to wait for a busy board.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._collecting: asyncio.Future[bytes] | None = None
        # The oldest first.
        self._reading: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection; close the oldest one if there are too many."""
        if len(self._reading) >= MAX_READERS:
            self._end(next(iter(self._reading)))
        task = asyncio.create_task(self._serve(reader, writer))
        self._reading[task] = writer
        task.add_done_callback(lambda done: self._reading.pop(done, None))

    def close(self) -> None:
        """Close all connections."""
        for task in list(self._reading):
            self._end(task)
        self._thread.shutdown(wait=False)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._reading.pop(task).transport.abort()  # the task may not have begun
        task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(IO_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
            answer = await self._answer(head)
            async with asyncio.timeout(IO_TIMEOUT):
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client sends no request, or does not read the reply
        finally:
            writer.transport.abort()

    async def _answer(self, head: bytes) -> bytes:
        """Answer a request: the metrics for any GET."""
        if not head.startswith(b"GET "):
            return (
                b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        body = await self._collected()
        lines = (
            "HTTP/1.1 200 OK",
            f"Content-Type: {CONTENT_TYPE_LATEST}",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode() + body

    async def _collected(self) -> bytes:
        """Return all metrics; concurrent requests share one collection."""
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.get_running_loop().run_in_executor(
                self._thread, generate_latest, self._metrics.registry
            )
        return await asyncio.shield(self._collecting)


@asynccontextmanager
async def exposed(metrics: Metrics, address: str) -> AsyncIterator[str]:
    """Serve the metrics over HTTP; yield the address with the actual port.

    Raises CannotListen.
    """
    host, _, port = address.rpartition(":")
    readers = _Readers(metrics)
    try:
        server = await asyncio.start_server(
            readers.connected, host.strip("[]"), int(port), limit=MAX_HEAD
        )
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise CannotListen(f"cannot listen on {address}: {why}") from error
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        readers.close()
