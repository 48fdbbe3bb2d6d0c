"""A thousand connections and a hundred thousand phases: the server's memory stays bounded."""

import asyncio
import random
import resource
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import apsw
import grpc
import pytest

from board_client import BoardClient
from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.model import ContractDraft, ContractKind, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore
from tests.faults.program import Program, assert_sound
from tests.faults.soak import scaled

BOARD = "nebula"
CONNECTIONS = 1000
PHASES = 100_000
"""The phases of ten thousand boards with ten each."""

SECONDS = scaled(2, 3600)
LOG_BOUND = 80 * 2**20
GROWTH = scaled(48, 32) * 2**20
"""Bytes of memory that the second half may need more than the first, for caches."""


@pytest.fixture
def many_files():
    """Raise this process's limit of open files; the server starts with that of shells."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CONNECTIONS:
        pytest.skip(f"this machine allows {hard} open files, and the test needs more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def post_many_phases(directory: Path) -> None:
    """Make a file as quasar's own store does, with the specification's tables."""
    with closing(apsw.Connection(str(directory / f"{BOARD}.board.db"))) as db, db:
        scripts = Path(__file__).parents[2] / "board_server/sqlite/migrations/0001_tables.sql"
        db.execute(scripts.read_text().partition("CREATE TABLE meta")[0])
        db.executemany(
            "INSERT INTO board (task_id, state) VALUES (?, 'queued')",
            ((f"phase-{n:06}",) for n in range(PHASES)),
        )


def connection(address: str) -> grpc.aio.Channel:
    # A pool of its own, or all channels of a process would be one connection.
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


async def one_call(board: BoardServiceStub, rng: random.Random, me: int) -> None:
    phase = f"phase-{rng.randrange(PHASES):06}"
    match rng.randrange(10):
        case 0:
            await board.SetPhaseState(pb.SetPhaseStateRequest(phase_id=phase, state=3))
        case 1:
            await board.ClaimFile(pb.ClaimFileRequest(filepath=f"{me}.go", owner=f"{me}"))
            await board.ReleaseClaims(pb.ReleaseClaimsRequest(owner=f"{me}"))
        case 2:
            contract = pb.Contract(producer=f"{me}", kind=1, name="T", signature=phase)
            await board.PublishContract(pb.PublishContractRequest(contract=contract))
        case 3:
            await board.ListPhases(pb.ListPhasesRequest(page_size=20))
        case _:
            await board.GetPhaseState(pb.GetPhaseStateRequest(phase_id=phase))


async def caller(address: str, me: int, over: asyncio.Event, connected: asyncio.Semaphore) -> int:
    rng = random.Random(me)
    made = 0
    async with connection(address) as channel:
        board = BoardServiceStub(channel)
        await board.GetPhaseState(pb.GetPhaseStateRequest(phase_id="a"), wait_for_ready=True)
        connected.release()
        while not (made and over.is_set()):
            await one_call(board, rng, me)
            made += 1
    return made


async def watcher(address: str) -> None:
    async with connection(address) as channel:
        async for _ in BoardServiceStub(channel).Watch(pb.WatchRequest()):
            pass


def memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def load(server: Program) -> tuple[int, int]:
    """Call and watch from a thousand connections; return the server's memory half-way and after."""
    pid = server.process.pid
    watchers = [asyncio.create_task(watcher(server.address)) for _ in range(10)]
    connected = asyncio.Semaphore(0)
    over = asyncio.Event()
    callers = [
        asyncio.create_task(caller(server.address, n, over, connected)) for n in range(CONNECTIONS)
    ]
    for _ in range(CONNECTIONS):
        await connected.acquire()
    assert open_files(pid) > CONNECTIONS
    await asyncio.sleep(SECONDS / 2)  # part of the load, not a wait
    half_way = memory(pid)
    await asyncio.sleep(SECONDS / 2)
    over.set()
    made = await asyncio.gather(*callers)
    assert min(made) > 0
    for watching in watchers:
        watching.cancel()
    await asyncio.gather(*watchers, return_exceptions=True)
    return half_way, memory(pid)


@pytest.mark.timeout(SECONDS + 300)
async def test_a_thousand_connections_leave_nothing_behind(tmp_path, many_files):
    post_many_phases(tmp_path)
    with Program(tmp_path, "--board", BOARD) as server:
        server.start()
        many_files()
        with BoardClient(server.address) as client:
            assert client.get_phase_state("phase-000000") == "queued"
            before = open_files(server.process.pid)
            half_way, after = await load(server)
            assert after < half_way + GROWTH
            log = tmp_path / f"{BOARD}.board.db-wal"
            assert log.stat().st_size < LOG_BOUND
            while open_files(server.process.pid) > before + 5:  # until it has noticed; see timeout
                await asyncio.to_thread(client.get_phase_state, "phase-000000")
        assert server.stop() == 0
    assert_sound(tmp_path, BOARD)


@contextmanager
def always_someone_reading(file: Path) -> Iterator[threading.Semaphore]:
    """Keep at least one reader active: two readers alternate, and their reads overlap.

    Yields what to release after each write. Without writes, it does not wait long.
    """
    over, written = threading.Event(), threading.Semaphore(0)

    def begin(db: apsw.Connection) -> None:
        db.execute("BEGIN")
        db.execute("SELECT * FROM meta").fetchall()

    def read() -> None:
        readers = [apsw.Connection(str(file)) for _ in range(2)]
        begin(readers[0])
        for turn in count():
            begin(readers[(turn + 1) % 2])
            for _ in range(2):
                written.acquire(timeout=0.05)
            readers[turn % 2].execute("COMMIT")
            if over.is_set():
                break
        for reader in readers:
            reader.close()

    reading = threading.Thread(target=read)
    reading.start()
    try:
        yield written
    finally:
        over.set()
        reading.join()


async def write_much(
    store: SqliteStore, batches: int, written: threading.Semaphore | None = None
) -> None:
    """Write a megabyte and more with each batch."""
    for number in range(batches):
        drafts = [
            ContractDraft("a", ContractKind.TYPE, f"{n}", f"{number:02}" * 25_000, "")
            for n in range(10)
        ]
        await store.publish_contracts(BOARD, drafts)
        if written:
            written.release()


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(tmp_path, synchronous="normal")
    await store.open_board(BOARD)
    yield store
    await store.close()
    assert_sound(tmp_path, BOARD)


def log_size(directory: Path) -> int:
    return (directory / f"{BOARD}.board.db-wal").stat().st_size


async def test_the_log_stays_small_while_reads_follow_each_other_without_a_pause(store, tmp_path):
    with always_someone_reading(tmp_path / f"{BOARD}.board.db") as written:
        await write_much(store, scaled(110, 1200), written)
    assert log_size(tmp_path) < LOG_BOUND


async def test_the_log_is_short_again_once_a_reader_has_gone_that_held_it_up(store, tmp_path):
    with closing(apsw.Connection(str(tmp_path / f"{BOARD}.board.db"))) as backup:
        backup.execute("BEGIN")
        assert backup.execute("SELECT revision FROM meta").get == 0
        await write_much(store, 40)
        assert log_size(tmp_path) > 40 * 2**20
        assert backup.execute("SELECT revision FROM meta").get == 0
    await write_much(store, 40)
    assert log_size(tmp_path) < 64 * 2**20


async def test_a_phase_is_found_as_fast_among_many(tmp_path):
    """By counting the steps of SQLite, which do not depend on the machine."""
    post_many_phases(tmp_path)
    store = SqliteStore(tmp_path)
    await store.set_phase_state(BOARD, PhaseChange("phase-000001", PhaseState.DONE))
    board = await store._registry.get(BOARD)
    steps = []
    for connection_ in (board._files.reading, board._files.writing):
        connection_.set_progress_handler(lambda: steps.append(1), 1000)
    await store.get_phase_state(BOARD, "phase-099999")
    await store.set_phase_state(BOARD, PhaseChange("phase-099999", PhaseState.DONE))
    assert steps == []
    await store.close()
