"""The rows of the table: the work, the contender, and the goal.

A row measures its contenders directly after each other. The program measures all rows,
then repeats all of them, so that other work on the machine affects all rows alike.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import grpc
from google.protobuf.message import Message

from benchmarks import data, servers
from benchmarks.bench import PHASES, Bench, Skipped
from benchmarks.load import Load, Step, Watchers
from board_client import BoardClient
from board_client.channel import OPTIONS
from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub

Figures = Mapping[str, float]

BOARD = "board"
"""The name of the board among a row's contenders."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `measure` returns the figure of each contender, in `unit`. The board reaches its goal
    if its figure is at least `reach` times the other's, or, with `at_most`, at most that.
    Without another contender, the figure itself is compared with `reach`.
    """

    key: str
    work: str
    against: str
    unit: str
    reach: float
    measure: Callable[[Bench], Figures]
    at_most: bool = False
    repeats: bool = True


def rpc(name: str, *requests: Message, stream: bool = False) -> Step:
    """Call one of the board's methods."""
    return Step(f"/board.v1.BoardService/{name}", requests, stream)


def kv(name: str, *requests: Message) -> Step:
    """Call one of etcd's methods."""
    return Step(f"/etcdserverpb.KV/{name}", requests)


def reads(board: str, phases: int = PHASES) -> Step:
    """Read the state of all phases in rotation."""
    names = map(data.phase_id, range(phases))
    requests = [pb.GetPhaseStateRequest(board=board, phase_id=name) for name in names]
    return rpc("GetPhaseState", *requests)


def writes(board: str, phases: int = PHASES) -> Step:
    """Set the state of all phases in rotation, each time to a different one."""
    states = (pb.PHASE_STATE_RUNNING, pb.PHASE_STATE_BLOCKED)
    requests = [
        pb.SetPhaseStateRequest(
            board=board, phase_id=data.phase_id(number), state=state, worker="worker-1"
        )
        for state in states
        for number in range(phases)
    ]
    return rpc("SetPhaseState", *requests)


LIST = rpc("ListContracts", pb.ListContractsRequest(board="listed", page_size=10_000))


def against_echo(step: Callable[[str], Step], connections: int) -> Callable[[Bench], Figures]:
    """Measure calls a second of the board and of the bare echo."""

    def measure(bench: Bench) -> Figures:
        mine = bench.load(bench.board, step("small"), connections=connections)
        echo = bench.load(bench.echo, step("small"), connections=connections)
        return {BOARD: mine.per_second, "echo": echo.per_second}

    return measure


def under_slow_syncs(bench: Bench, server: servers.Server, board: str, times: int) -> Figures:
    """Read at 1,000/s while 16 connections write; return the p99 of reads in ms, and writes/s."""
    reading = Load([reads(board, PHASES * times)], 8, bench.scale.seconds, rate=1000)
    writing = Load([writes(board, PHASES * times)], 16, bench.scale.seconds)
    read, written = bench.generator.run(server.address, reading, writing)
    return {"p99": read.p99 * 1000, "writes": written.per_second}


def reads_under_slow_syncs(bench: Bench) -> Figures:
    """Measure the p99 of reads, in ms."""
    return {BOARD: under_slow_syncs(bench, bench.variant("slow-sync"), "small", 1)["p99"]}


def writes_under_slow_syncs(bench: Bench) -> Figures:
    """Measure writes a second."""
    slow, on_loop = bench.variant("slow-sync"), bench.variant("slow-sync", "commit-on-loop")
    return {
        BOARD: under_slow_syncs(bench, slow, "small", 1)["writes"],
        "commit on the loop": under_slow_syncs(bench, on_loop, "small", 1)["writes"],
    }


def warm_list(connections: int) -> Callable[[Bench], Figures]:
    """Measure lists a second."""

    def measure(bench: Bench) -> Figures:
        mine = bench.load(bench.board, LIST, connections=connections)
        etcd = bench.load(bench.etcd, kv("Range", data.every("listed")), connections=connections)
        same_bytes(mine.size, etcd.size)
        return {BOARD: mine.per_second, "etcd": etcd.per_second}

    return measure


def list_after_publish(bench: Bench) -> Figures:
    """Measure lists a second, each directly after a publish whose time is not counted."""
    versions = [(number, next(VERSIONS)) for number in range(0, bench.scale.listed, 7)]
    publish = rpc(
        "PublishContract",
        *(
            pb.PublishContractRequest(board="listed", contract=data.contract(number, version))
            for number, version in versions
        ),
    )
    put = kv("Put", *(data.put("listed", number, version) for number, version in versions))
    mine = bench.load(bench.board, publish, LIST, connections=1)
    etcd = bench.load(bench.etcd, put, kv("Range", data.every("listed")), connections=1)
    same_bytes(mine.size, etcd.size)
    return {BOARD: mine.per_busy_second, "etcd": etcd.per_busy_second}


def publish(bench: Bench) -> Figures:
    """Measure contracts a second, in batches on 8 connections. Every contract changes."""
    writers, turns = 8, 16
    batches = [
        [(writer * data.BATCH + n, version) for n in range(data.BATCH)]
        for version, writer in itertools.product(
            [next(VERSIONS) for _ in range(turns)], range(writers)
        )
    ]
    published = rpc(
        "PublishContracts",
        *(
            pb.PublishContractsRequest(
                board="small", contracts=[data.contract(*each) for each in batch]
            )
            for batch in batches
        ),
    )
    put = kv(
        "Txn", *(data.put_all([data.put("small", *each) for each in batch]) for batch in batches)
    )
    mine = bench.load(bench.board, published, connections=writers)
    etcd = bench.load(bench.etcd, put, connections=writers)
    return {
        BOARD: mine.per_second * data.BATCH,
        "etcd": etcd.per_second * data.BATCH,
    }


def watch(bench: Bench) -> Figures:
    """Measure events a second, of all watchers together, while 16 connections write."""
    watchers = Watchers(
        "/board.v1.BoardService/Watch", pb.WatchRequest(board="small"), bench.scale.watchers
    )
    load = Load([writes("small")], 16, operations=bench.scale.writes, warm_up=0)

    def delivered(server: servers.Server) -> float:
        delivered = bench.generator.watch(server.address, watchers, load)
        return delivered.events / delivered.seconds

    single = bench.variant("one-message-per-event")
    return {BOARD: delivered(bench.board), "one message per event": delivered(single)}


def snapshot(bench: Bench) -> Figures:
    """Measure snapshots a second."""
    whole = rpc("GetSnapshot", pb.GetSnapshotRequest(board="snapshot"), stream=True)
    mine = bench.load(bench.board, whole, connections=1)
    etcd = bench.load(bench.etcd, kv("Range", data.every("snapshot")), connections=1)
    same_bytes(mine.size, etcd.size)
    return {BOARD: mine.per_second, "etcd": etcd.per_second}


def python_client(bench: Bench) -> Figures:
    """Measure the median call in ms; calls of the client's method and of the raw stub alternate."""
    address = bench.board.address
    with (
        BoardClient(address, "small") as client,
        grpc.insecure_channel(address, options=OPTIONS) as channel,
    ):
        stub = BoardServiceStub(channel)

        def through_stub(phase_id: str) -> None:
            stub.GetPhaseState(
                pb.GetPhaseStateRequest(board="small", phase_id=phase_id), timeout=10
            )

        times: dict[str, list[float]] = {BOARD: [], "stub": []}
        calls = {BOARD: client.get_phase_state, "stub": through_stub}
        for turn in range(bench.scale.calls):
            for name, call in calls.items():
                begun = time.perf_counter()
                call(data.phase_id(turn % PHASES))
                times[name].append(time.perf_counter() - begun)
    return {name: median(taken) * 1000 for name, taken in times.items()}


GO_CLIENT = Path(__file__).parent.parent / "go"


def go_client(bench: Bench) -> Figures:
    """Measure the median call in ms, as the Go client's own benchmark does."""
    if not (GO_CLIENT / "board" / "bench_test.go").exists():
        raise Skipped("the Go client is missing")
    command = ["go", "test", "./board", "-run", "^$", "-bench", "^BenchmarkGetPhaseState$/^serial$"]
    command += ["-benchtime", f"{bench.scale.calls}x"]
    done = subprocess.run(
        command,
        cwd=GO_CLIENT,
        env={**os.environ, "BOARD_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    words = done.stdout.split()
    micro = {unit: float(words[at - 1]) for at, unit in enumerate(words) if unit.endswith("-µs")}
    return {BOARD: micro["client-p50-µs"] / 1000, "stub": micro["stub-p50-µs"] / 1000}


def memory(bench: Bench) -> Figures:
    """Measure the resident memory in MiB, with watchers, after lists, writes and snapshots."""
    with tempfile.TemporaryDirectory(dir=bench.directory) as directory:
        data.fill_board(Path(directory), "held", phases=PHASES, contracts=bench.scale.held)
        request = pb.WatchRequest(board="held")
        watchers = Watchers("/board.v1.BoardService/Watch", request, bench.scale.watchers)
        lists = rpc("ListContracts", pb.ListContractsRequest(board="held", page_size=10_000))
        whole = rpc("GetSnapshot", pb.GetSnapshotRequest(board="held"), stream=True)
        with (
            servers.board(Path(directory)) as server,
            bench.generator.watching(server.address, watchers),
        ):
            bench.load(server, lists, writes("held"), connections=8)
            bench.load(server, whole, connections=2)
            return {BOARD: server.resident()}


def growth_of(step: Callable[[str, int], Step]) -> Callable[[Bench], Figures]:
    """Measure calls a second on a small and on a large board."""

    def measure(bench: Bench) -> Figures:
        large = step("large", PHASES * bench.scale.growth)
        return {
            BOARD: bench.load(bench.board, large, connections=8).per_second,
            "small": bench.load(bench.board, step("small", PHASES), connections=8).per_second,
        }

    return measure


def growth_under_slow_syncs(bench: Bench) -> Figures:
    """Measure 1/p99 of reads, in 1/s, on a small and on a large board."""
    slow = bench.variant("slow-sync")
    large = under_slow_syncs(bench, slow, "large", bench.scale.growth)
    return {
        BOARD: 1000 / large["p99"],
        "small": 1000 / under_slow_syncs(bench, slow, "small", 1)["p99"],
    }


def against_board(
    other: str, step: Callable[[str], Step], connections: int
) -> Callable[[Bench], Figures]:
    """Measure calls a second of two board servers."""

    def measure(bench: Bench) -> Figures:
        mine = bench.load(bench.board, step("small"), connections=connections)
        theirs = bench.load(getattr(bench, other), step("small"), connections=connections)
        return {BOARD: mine.per_second, other: theirs.per_second}

    return measure


VERSIONS = itertools.count(1)
"""Each number is used once, so that every publish changes its contracts."""


def same_bytes(mine: int, etcd: int) -> None:
    """Raise RuntimeError if the sizes of the two replies differ by more than 2 %."""
    if abs(mine - etcd) > 0.02 * etcd:
        raise RuntimeError(
            f"sizes of replies differ: {mine:,} bytes from the board, {etcd:,} from etcd"
        )


ECHO = "bare echo"
ROWS = [
    *(
        Row(
            f"get-{n}",
            f"GetPhaseState, {n} connections",
            ECHO,
            "calls/s",
            1.0,
            against_echo(reads, n),
        )
        for n in (8, 32)
    ),
    *(
        Row(
            f"set-{n}",
            f"SetPhaseState, durable, {n} connections",
            ECHO,
            "calls/s",
            0.65,
            against_echo(writes, n),
        )
        for n in (8, 32)
    ),
    Row(
        "slow-sync-reads",
        "GetPhaseState p99 at 1,000/s, 16 writers, syncs of 5 ms",
        "absolute",
        "ms",
        5.0,
        reads_under_slow_syncs,
        at_most=True,
    ),
    Row(
        "slow-sync-writes",
        "the writes meanwhile",
        "commit on the loop",
        "calls/s",
        6.0,
        writes_under_slow_syncs,
    ),
    *(
        Row(
            f"list-{n}",
            f"ListContracts of 5,000, warm, {n} connection{'s' * (n > 1)}",
            "etcd Range of the same bytes",
            "calls/s",
            7.0,
            warm_list(n),
        )
        for n in (1, 8)
    ),
    Row(
        "list-after-publish",
        "ListContracts of 5,000, right after a publish",
        "etcd Range right after a put",
        "calls/s",
        1.0,
        list_after_publish,
    ),
    Row(
        "publish",
        "PublishContracts of 100, 8 connections",
        "etcd Txn of 100 puts",
        "contracts/s",
        1.1,
        publish,
    ),
    Row(
        "watch",
        "Watch, 100 watchers, 1,000 writes",
        "one message per event",
        "events/s",
        2.0,
        watch,
    ),
    Row(
        "snapshot",
        "GetSnapshot of 10,000 contracts, 1,000 phases, 1,000 claims",
        "etcd Range of the same bytes",
        "calls/s",
        1.0,
        snapshot,
    ),
    Row(
        "python-client",
        "Python client's method, serial p50",
        "raw stub",
        "ms",
        1.15,
        python_client,
        at_most=True,
    ),
    Row(
        "go-client",
        "Go client's method, serial p50",
        "raw stub",
        "ms",
        1.05,
        go_client,
        at_most=True,
    ),
    Row(
        "memory",
        "resident, with 100,000 contracts and 100 watchers",
        "absolute",
        "MiB",
        300,
        memory,
        at_most=True,
        repeats=False,
    ),
    Row(
        "growth-get",
        "GetPhaseState with 100 times the phases, contracts, events",
        "itself, small",
        "calls/s",
        0.9,
        growth_of(reads),
    ),
    Row(
        "growth-set",
        "SetPhaseState, likewise",
        "itself, small",
        "calls/s",
        0.9,
        growth_of(writes),
    ),
    Row(
        "growth-slow-sync",
        "GetPhaseState under slow syncs, likewise",
        "itself, small",
        "1/p99, 1/s",
        0.9,
        growth_under_slow_syncs,
    ),
]

ENGINE_ROWS = [
    Row(
        f"{other}-{name}-{connections}".replace("_", "-"),
        f"{name} state, {connections} connections",
        other.replace("_", " "),
        "calls/s",
        1.0,
        against_board(other, step, connections),
    )
    for name, step in (("get", reads), ("set", writes))
    for connections in (8, 32)
    for other in ("twin", "poller")
]
"""Rows of `--engine`: the poller engine is faster only if its ratio is farther from 1 than
that of two identical servers (twin)."""
