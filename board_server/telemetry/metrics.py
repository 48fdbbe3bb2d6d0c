"""Metrics: what Prometheus reads, from the calls, the writers, and the boards as they stand."""

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
"""Seconds that the boards have to tell how they stand."""

Answered = Callable[[str, float], None]
"""Takes note of an answer: its code's name, and the seconds that it took."""

StatsOf = Callable[[], Awaitable[Sequence[BoardStats]]]
FollowingOf = Callable[[], Iterable[Following]]


class Metrics:
    """The registry of one server, and what is written to it as things happen."""

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
            "Time of one commit, its sync to disk included.",
            ["board"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def answered(self, method: str) -> Answered:
        """Return what counts the calls of a method; it is for one thread."""
        return self._calls.of(method)

    def committed(self, board: str, calls: int, seconds: float) -> None:
        """Count a commit; called in the writer's thread."""
        self._batch.labels(board).observe(calls)
        self._sync.labels(board).observe(seconds)

    def closed(self, board: str) -> None:
        """Tell of a board's commits no longer: there may be many boards, one after the other."""
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
        """Look at the boards, on this event loop, whenever the metrics are read."""
        loop = asyncio.get_running_loop()
        boards = _Boards(loop, stats_of, following_of)
        active = Gauge("board_rpcs_active", "Calls that go on.", registry=self.registry)
        active.set_function(calls)
        bytes_held = Gauge(
            "board_held_bytes",
            "Bytes of requests, waits and unread replies that the server holds.",
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
    """The calls that were answered.

    Plain numbers, which the event loop counts up and Prometheus' thread reads: the
    library's own take a lock each, and that on every call.
    """

    def __init__(self) -> None:
        self._methods: dict[str, tuple[Counter[str], _Seconds]] = {}

    def of(self, method: str) -> Answered:
        """Return what counts the calls of a method."""
        codes, seconds = self._methods[method] = Counter(), _Seconds()
        timed = method not in LONG_RUNNING  # how long those last says nothing of the server

        def answered(code: str, took: float) -> None:
            codes[code] += 1
            if timed:
                seconds.buckets[bisect_left(SECONDS, took)] += 1
                seconds.sum += took

        return answered

    def collect(self) -> Iterable[Metric]:
        """Tell the numbers, of methods that were called."""
        calls = CounterMetricFamily(
            "board_rpcs", "Calls that were answered.", labels=["method", "code"]
        )
        durations = HistogramMetricFamily(
            "board_rpc_duration_seconds",
            "Time from a call's arrival to its answer, but for Watch and WaitFor.",
            labels=["method"],
        )
        for method, (codes, seconds) in self._methods.items():
            for code, number in codes.copy().items():
                calls.add_metric([method, code], number)
            if any(seconds.buckets):
                durations.add_metric([method], seconds.cumulated(), seconds.sum)
        return [calls, durations]


class _Seconds:
    """A histogram: how many took up to each of SECONDS, and how long all of them together."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def cumulated(self) -> list[tuple[str, float]]:
        """Tell the buckets as Prometheus has them, each with all before it."""
        return list(
            zip(map(floatToGoString, (*SECONDS, inf)), accumulate(self.buckets), strict=True)
        )


class _Boards(Collector):
    """How the boards stand, asked when Prometheus asks. Runs in the thread of its request."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stats_of: StatsOf, following_of: FollowingOf
    ) -> None:
        self._loop = loop
        self._stats_of = stats_of
        self._following_of = following_of

    def describe(self) -> Iterable[Metric]:
        """Tell the names; a registry asks for them before there is a board."""
        return [*_stats([]), *_following([])]

    def collect(self) -> Iterable[Metric]:
        """Ask the event loop, and wait for it."""
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
    told = {
        "revision": "Revision of the board.",
        "phases": "Phases on the board.",
        "contracts": "Contracts on the board.",
        "claims": "Files that are claimed.",
        "sessions": "Sessions that live.",
        "writer_queue": "Writes that wait for the writer.",
        "wal_bytes": "Size of the write-ahead log.",
    }
    return _families(told, stats)


def _following(following: Iterable[Following]) -> list[Metric]:
    told = {
        "watchers": "Watches that go on.",
        "waiters": "Calls of WaitFor that go on.",
        "revisions_behind": "Revisions that the slowest watcher has still to be sent.",
        "bytes_behind": "Bytes that wait for the watcher with the most of them.",
    }
    return _families(told, following)


def _families(told: dict[str, str], records: Iterable[BoardStats | Following]) -> list[Metric]:
    """Make a gauge of each field, with a sample for each board."""
    families: list[Metric] = []
    kept = list(records)
    for field, text in told.items():
        family = GaugeMetricFamily(f"board_{field}", text, labels=["board"])
        for record in kept:
            family.add_metric([record.board], getattr(record, field))
        families.append(family)
    return families


MAX_READERS = 16
"""Connections that are served at once; for one more, the one that has waited longest is closed."""

PATIENCE = 5.0
"""Seconds that a connection has to ask, and to read its answer."""

MAX_HEAD = 8 * 2**10
"""Bytes that the head of a request may have."""


class _Readers:
    """Answers HTTP requests for the metrics, one on each connection."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Of its own: while a busy board keeps it waiting, boards are opened in others.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._collecting: asyncio.Future[bytes] | None = None
        # In the order of their beginning.
        self._reading: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection; close the oldest where there are too many."""
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
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
            answer = await self._answer(head)
            async with asyncio.timeout(PATIENCE):
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it asks for nothing, or reads nothing
        finally:
            writer.transport.abort()

    async def _answer(self, head: bytes) -> bytes:
        """Answer a request: the metrics for any GET, as Prometheus asks for them."""
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
        """Return all metrics; those who ask while they are collected get the same."""
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.get_running_loop().run_in_executor(
                self._thread, generate_latest, self._metrics.registry
            )
        return await asyncio.shield(self._collecting)


@asynccontextmanager
async def exposed(metrics: Metrics, address: str) -> AsyncIterator[str]:
    """Serve the metrics over HTTP; yield the address with the port that was picked.

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
