"""The server is killed repeatedly under writes, and loses no acknowledged write."""

import random
import threading
from dataclasses import dataclass, field

import grpc
import pytest

from board_client import BoardClient, BoardError, Contract, Event
from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server import failpoints
from board_server.sqlite.migrate import migrations
from tests.faults.program import Program, assert_sound
from tests.faults.soak import scaled

BOARD = "nebula"
WRITERS = 6
POINTS = (
    *("before-events", "before-commit", "after-commit", "before-reply", "before-watch-send"),
    "",  # from outside, at whatever moment
)
CRASHES = scaled(8, 240)


@dataclass
class Writer:
    """Makes one write after the other; the board shows which was the last."""

    name: str
    wrote: threading.Semaphore
    over: threading.Event
    step: int = 0
    in_doubt: int = 0
    failure: BaseException | None = None

    def run(self, client: BoardClient) -> None:
        try:
            while not self.over.is_set():
                self.write_one(client)
        except BaseException as error:
            self.failure = error

    def write_one(self, client: BoardClient) -> None:
        step = self.step + 1
        try:
            self.call(client, step)
        except BoardError:
            # It may have happened, completely or not at all.
            self.in_doubt += 1
            self.step = self.how_far(client, self.step, step)
        else:
            self.step = step
            self.wrote.release()

    def call(self, client: BoardClient, step: int) -> None:
        match step % 4:
            case 1:
                client.set_phase_state(self.name, "running", worker=f"{step}")
            case 2:
                client.claim_files(self.files, self.name)
            case 3:
                client.publish_contracts(self.contracts(step))
            case 0:
                client.complete_phase(self.name, "done", self.contracts(step))

    def how_far(self, client: BoardClient, *possible: int) -> int:
        while True:
            try:
                found = self.part_of(client)
            except BoardError:
                continue  # not back yet
            matching = [step for step in possible if self.expected(step) == found]
            assert matching, f"{self.name} did {possible}, and the board has {found}"
            return matching[-1]

    def part_of(self, client: BoardClient):
        board = client.get_snapshot()
        return (
            [(p.state, p.worker) for p in board.phases if p.phase_id == self.name],
            [c.signature for c in board.contracts if c.producer == self.name],
            [c.filepath for c in board.claims if c.owner == self.name],
        )

    def expected(self, step: int):
        last = {
            kind: max((s for s in range(step + 1) if s % 4 == kind), default=0) for kind in range(4)
        }
        phase = [("running" if last[1] > last[0] else "done", f"{last[1]}")] if step else []
        contracts = [f"{max(last[3], last[0])}"] * 3 if step > 2 else []
        claims = self.files if last[2] > last[0] else []
        return phase, contracts, claims

    @property
    def files(self) -> list[str]:
        return [f"{self.name}/{letter}.go" for letter in "abc"]

    def contracts(self, step: int) -> list[Contract]:
        return [Contract(self.name, "function", f"F{n}", signature=f"{step}") for n in range(3)]


@dataclass
class Watcher:
    """Records every event, until the one that ends the test."""

    events: list[Event] = field(default_factory=list)
    failure: BaseException | None = None

    def run(self, client: BoardClient, standing: threading.Event) -> None:
        try:
            watch = client.watch()
            standing.set()
            for event in watch:
                self.events.append(event)
                if getattr(event.record, "phase_id", "") == "the end":
                    return
        except BaseException as error:
            self.failure = error


def test_nothing_acknowledged_is_lost_and_nothing_is_half_done_however_often_it_crashes(tmp_path):
    rng = random.Random(CRASHES)
    wrote, over, standing = threading.Semaphore(0), threading.Event(), threading.Event()
    writers = [Writer(f"phase-{n}", wrote, over) for n in range(WRITERS)]
    watcher = Watcher()
    with Program(tmp_path) as server, BoardClient(server.address, BOARD, timeout=20) as client:
        server.start()
        client.open_board()
        watching = threading.Thread(target=watcher.run, args=(client, standing))
        watching.start()
        assert standing.wait(60)
        threads = [threading.Thread(target=w.run, args=(client,)) for w in writers]
        for thread in threads:
            thread.start()
        for crash in range(CRASHES):
            point = POINTS[crash % len(POINTS)]
            server.kill()
            server.start(crash_at=point and f"{point}:{rng.randint(1, 12)}")
            if point:
                assert server.crashed()
            else:
                for _ in range(rng.randint(1, 60)):
                    assert wrote.acquire(timeout=60)
        server.kill()
        server.start()
        over.set()
        for thread in threads:
            thread.join(60)
        for writer in writers:
            assert writer.failure is None
            assert writer.part_of(client) == writer.expected(writer.step)
        client.set_phase_state("the end", "done")
        watching.join(60)
        assert watcher.failure is None
        assert not watching.is_alive()
        assert server.stop() == 0
    assert sum(writer.step for writer in writers) > CRASHES
    assert_each_revision_was_watched_once(watcher.events)
    assert_sound(tmp_path, BOARD)


def assert_each_revision_was_watched_once(events: list[Event]) -> None:
    revisions = [event.revision for event in events]
    assert revisions == sorted(revisions)
    assert sorted(set(revisions)) == list(range(1, revisions[-1] + 1))
    result = [(event.revision, event.change, event.record) for event in events]
    assert all(result.count(event) == 1 for event in result[:: max(1, len(result) // 200)])


@pytest.mark.parametrize("migration", range(1, len(migrations()) + 1))
def test_a_server_that_dies_while_it_migrates_a_file_leaves_it_to_the_next(tmp_path, migration):
    with Program(tmp_path, "--board", BOARD) as server:
        server.start(crash_at=f"before-migration-commit:{migration}")
        assert server.crashed()
        server.kill()
        server.start()
        with BoardClient(server.address) as client:
            client.set_phase_state("a", "queued")
        assert server.stop() == 0
    assert_sound(tmp_path, BOARD)


def test_the_next_server_answers_a_retry_as_the_killed_one_would_have(tmp_path):
    once = (("board-request-id", "01938c1e"),)
    start = pb.SetPhaseStateRequest(
        phase_id="a", state=pb.PHASE_STATE_RUNNING, expected_state=pb.PHASE_STATE_QUEUED
    )
    with Program(tmp_path, "--board", "nebula") as server:
        server.start(crash_at="after-commit:2")
        with grpc.insecure_channel(server.address) as channel:
            board = BoardServiceStub(channel)
            board.SetPhaseState(
                pb.SetPhaseStateRequest(phase_id="a", state=pb.PHASE_STATE_QUEUED), timeout=60
            )
            with pytest.raises(grpc.RpcError):
                board.SetPhaseState(start, metadata=once, timeout=60)
            assert server.crashed()
            server.kill()
            server.start()
            reply = board.SetPhaseState(start, metadata=once, timeout=60, wait_for_ready=True)
        assert (reply.phase.state, reply.revision) == (pb.PHASE_STATE_RUNNING, 2)
        assert server.stop() == 0


def test_calls_that_changed_nothing_change_nothing_when_repeated_after_a_crash(tmp_path):
    release = pb.ReleaseClaimsRequest(owner="late")
    start = pb.SetPhaseStateRequest(
        phase_id="a", state=pb.PHASE_STATE_RUNNING, expected_state=pb.PHASE_STATE_DONE
    )
    first, second = ((("board-request-id", key),) for key in ("1", "2"))
    with Program(tmp_path, "--board", BOARD) as server, BoardClient(server.address) as client:
        server.start(crash_at="after-commit:2")
        with grpc.insecure_channel(server.address) as channel:
            board = BoardServiceStub(channel)
            assert board.ReleaseClaims(release, metadata=first, timeout=60).released == 0
            with pytest.raises(grpc.RpcError):
                board.SetPhaseState(start, metadata=second, timeout=60)  # refused, and it crashes
            assert server.crashed()
            server.kill()
            server.start()
            client.claim_file("x.go", "late")
            client.set_phase_state("a", "done")
            again = board.ReleaseClaims(release, metadata=first, timeout=60, wait_for_ready=True)
            assert again.released == 0
            with pytest.raises(grpc.RpcError) as refused:
                board.SetPhaseState(start, metadata=second, timeout=60)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert client.file_owner("x.go") == "late"
        assert client.get_phase_state("a") == "done"
        assert server.stop() == 0


def test_failpoints_do_nothing_unless_one_is_set():
    assert failpoints.failpoint is failpoints._off
