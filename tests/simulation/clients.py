"""Simulated clients: they make random calls, cancel them, and repeat them with idempotency keys."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from board_client.v1 import board_pb2 as pb
from tests.simulation.history import WRITES, Cancelled, History, Operation, Watched
from tests.simulation.loop import Defect, SimulatedLoop
from tests.simulation.network import Broken, Network, Refused, ServerCall

PATIENCE = 60.0
"""Seconds after which a call that ends by itself has been forgotten."""

ATTEMPTS = 4

PAUSES = (0.0, 0.0, 0.001, 0.01, 0.1, 0.5, 2.0)

TTL = (1.0, 3.0, 10.0)

PHASES = ("a", "b", "c")
FILES = ("x.go", "y.go", "z.go", "w.go")
NAMES = ("S", "T", "U", "V")
STATES = (
    pb.PHASE_STATE_QUEUED,
    pb.PHASE_STATE_RUNNING,
    pb.PHASE_STATE_DONE,
    pb.PHASE_STATE_FAILED,
)

STREAMS = {"GetSnapshot"}

RESPONSES: dict[str, Any] = {
    method.name: getattr(pb, method.output_type.name)
    for method in pb.DESCRIPTOR.services_by_name["BoardService"].methods
}


class World:
    """Shared by the clients of one simulation: the network, and what is known of boards."""

    def __init__(self, loop: SimulatedLoop, network: Network, directory: Path) -> None:
        self.loop = loop
        self.network = network
        self.directory = directory
        self.histories: defaultdict[str, History] = defaultdict(History)
        self.renewed: dict[str, float] = {}
        """By session ID, when its last renewal that was answered was sent."""
        self.deleted: dict[str, float] = {}
        """By board, when its files were last deleted."""
        self.over = False
        self.waiting: dict[asyncio.Task[Any], Operation] = {}
        self._moments = count(1)

    def moment(self) -> int:
        return next(self._moments)


class Client:
    """One connection, with its own source of random numbers."""

    def __init__(self, world: World, name: str, seed: object) -> None:
        self.world = world
        self.name = name
        self.chance = random.Random(f"{seed} {name}")
        self.gives_up = self.chance.choice((0.0, 0.0, 0.1, 0.3))
        self.sessions: list[str] = []

    async def pause(self, *seconds: float) -> None:
        await asyncio.sleep(self.chance.choice(seconds or PAUSES))

    async def call(self, method: str, request: Any, *, patience: float = PATIENCE) -> Any:
        """Make a call, with its retries; return its outcome.

        The outcome is None if it is unknown: the caller may give the call up.
        """
        world = self.world
        operation = Operation(method, request, world.moment())
        history = world.histories[request.board]
        history.operations.append(operation)
        key = f"{self.name}-{operation.called}" if method in WRITES else ""
        lasts = method == "WaitFor"
        began = world.loop.time()
        for attempt in range(ATTEMPTS):
            # The ttl of a session that is opened twice with one key begins with the first attempt.
            sent = began if method == "OpenSession" else world.loop.time()
            going = world.network.send(method, request, key, self.name)
            operation.attempts += 1
            gives_up = attempt + 1 < ATTEMPTS and self.chance.random() < self.gives_up
            wait = self.chance.choice((0.0, 0.001, 0.01, 1.0)) if gives_up else patience
            try:
                async with asyncio.timeout(wait):
                    outcome = await _outcome(going, method)
            except TimeoutError:
                world.network.abandon(going)
                if lasts and not going.late:
                    history.in_vain.append(Cancelled(request, sent, world.loop.time()))
                if not gives_up and not lasts:
                    raise Defect(f"nobody has answered {operation} for {patience} s") from None
                if not key or self.chance.random() < 0.3:
                    break
                continue
            except Broken:
                await self.pause(0.0, 0.01, 0.2)
                continue
            except asyncio.CancelledError:
                world.network.abandon(going)
                raise
            except Refused as refused:
                outcome = refused
                if refused.reason == "" and refused.code.name == "CANCELLED":
                    continue  # the server was stopped during the call
            operation.outcome = outcome
            operation.returned, operation.sent = world.moment(), sent
            operation.ended = world.loop.time()
            break
        self._learn(operation)
        world.loop.trace.note(f"{self.name} {operation}")
        return operation.outcome

    def _learn(self, operation: Operation) -> None:
        world, outcome = self.world, operation.outcome
        match operation.method, outcome:
            case "ListBoards", Message():
                for board in outcome.boards:
                    if not board.board_id:  # half made: the time is its file's, from the real clock
                        board.ClearField("created_at")
            case "OpenSession" | "RenewSession", Message():
                session_id = outcome.session.session_id
                world.renewed[session_id] = max(operation.sent, world.renewed.get(session_id, 0.0))
                if operation.method == "OpenSession":
                    self.sessions.append(session_id)

    # The behaviour of each kind of client.

    async def work(self, boards: list[str], calls: int) -> None:
        """Make random calls to a few boards."""
        for _ in range(calls):
            await self.pause()
            board = self.chance.choice(boards)
            outcome = await self.call(*self.anything(board))
            if isinstance(outcome, Refused) and outcome.reason == "BOARD_NOT_FOUND":
                await self.call("OpenBoard", pb.OpenBoardRequest(board=board))

    async def read(self, board: str, bursts: int) -> None:
        """Read in bursts: a few times without a pause, then pause."""
        for _ in range(bursts):
            for _ in range(self.chance.randrange(2, 8)):
                await self.call(*self._read(board))
            await self.pause()

    async def keep_a_session(self, board: str, renewals: int) -> None:
        """Open a session, renew it in time, then a little late, then not at all."""
        ttl = self.chance.choice(TTL)
        opened = await self.call("OpenSession", self._open_session(board, ttl))
        if not isinstance(opened, Message):
            return
        session = pb.RenewSessionRequest(board=board, session_id=opened.session.session_id)
        for _ in range(renewals):
            await asyncio.sleep(ttl * self.chance.choice((0.3, 0.6, 0.9, 1.0, 1.2, 1.25)))
            if isinstance(await self.call("RenewSession", session), Refused):
                return

    async def poll(self, boards: list[str], times: int) -> None:
        """Read a board until another client opens it, and then another board."""
        board = self.chance.choice(boards)
        for _ in range(times):
            request = pb.GetPhaseStateRequest(board=board, phase_id="a")
            if isinstance(await self.call("GetPhaseState", request), Message):
                board = self.chance.choice(boards)
                await self.pause()
            else:
                await self.pause(0.0, 0.0, 0.0, 0.001)

    async def dispatch(self, boards: list[str], times: int) -> None:
        """Open boards, and delete the files of some."""
        for _ in range(times):
            board = self.chance.choice(boards)
            await self.call("OpenBoard", pb.OpenBoardRequest(board=board))
            await self.pause()
            if self.chance.random() < 0.3:
                await self.call("ListBoards", pb.ListBoardsRequest())
            if self.chance.random() < 0.5:
                self.world.loop.trace.note(f"delete {board}")
                self.world.deleted[board] = self.world.loop.time()
                for file in self.world.directory.glob(f"{board}.board.db*"):
                    if not file.name.endswith(".lock"):
                        file.unlink()

    async def wait(self, board: str, times: int) -> None:
        """Wait for random conditions, each time until they are met or a timeout ends the wait."""
        for _ in range(times):
            await self.pause()
            await self.call(
                "WaitFor", self._condition(board), patience=self.chance.choice((1.0, 5.0, 20.0))
            )

    async def wait_for_good(self, board: str) -> None:
        """Wait without a timeout, again after each restart.

        The check at the end of the simulation examines the waits that are left.
        """
        world = self.world
        while not world.over:
            request = self._condition(board)
            operation = Operation("WaitFor", request, world.moment(), world.loop.time())
            world.histories[board].operations.append(operation)
            going = world.network.send("WaitFor", request, "", self.name)
            task = asyncio.current_task()
            assert task
            world.waiting[task] = operation
            try:
                operation.outcome = await _outcome(going, "WaitFor")
            except Broken:
                await self.pause(0.01, 0.5)
                continue
            except Refused as refused:
                operation.outcome = refused
                await self.pause(0.01, 0.5)
            except asyncio.CancelledError:
                world.network.abandon(going)
                raise
            finally:
                del world.waiting[task]
            operation.returned = world.moment()
            world.loop.trace.note(f"{self.name} {operation}")
            await self.pause()

    async def watch(self, board: str) -> None:
        """Watch all events of a board; resume where a stream ended."""
        watched = Watched()
        self.world.histories[board].watched.append(watched)
        try:
            while True:
                await self._watch(board, watched)
                await self.pause(0.0, 0.01, 0.5)
        finally:
            watched.goes_on = False

    async def _watch(self, board: str, watched: Watched) -> None:
        world = self.world
        request = pb.WatchRequest(board=board, after_revision=watched.revision)
        going = world.network.send("Watch", request, "", self.name)
        try:
            async with asyncio.timeout(self.chance.choice((0.01, 1.0, 10.0, 1e9))):
                while (message := await going.next_message()) is not None:
                    response = pb.WatchResponse.FromString(message)
                    watched.events += response.events
                    watched.revision = max(watched.revision, response.revision)
                    world.loop.trace.note(f"{self.name} received up to {watched.revision}")
                    if self.chance.random() < 0.1:
                        await self.pause()
        except (Broken, Refused):
            pass
        except TimeoutError:
            world.network.abandon(going)
        except asyncio.CancelledError:
            world.network.abandon(going)
            raise

    # The calls that a client may make.

    def anything(self, board: str) -> tuple[str, Any]:
        """Draw a call with its arguments."""
        make: Callable[[str], tuple[str, Any]] = self.chance.choice(
            (
                self._set_state,
                self._set_state,
                self._publish,
                self._claim,
                self._claim,
                self._release,
                self._complete,
                self._session,
                self._read,
                self._read,
                self._read,
                self._archive,
            )
        )
        return make(board)

    def _in_session(self) -> str:
        if self.sessions and self.chance.random() < 0.5:
            return self.chance.choice(self.sessions[-2:])
        return ""

    def _set_state(self, board: str) -> tuple[str, Any]:
        request = pb.SetPhaseStateRequest(
            board=board,
            phase_id=self.chance.choice(PHASES),
            state=self.chance.choice(STATES),
            session_id=self._in_session(),
        )
        if self.chance.random() < 0.4:
            request.expected_state = self.chance.choice(STATES)
        if self.chance.random() < 0.4:
            request.worker = self.name
        return "SetPhaseState", request

    def _contract(self) -> pb.Contract:
        return pb.Contract(
            producer=self.chance.choice(PHASES),
            kind=pb.CONTRACT_KIND_TYPE,
            name=self.chance.choice(NAMES),
            signature=self.chance.choice(("", "one", "two")),
            package=self.chance.choice(("", "p")),
        )

    def _publish(self, board: str) -> tuple[str, Any]:
        session_id = self._in_session()
        if self.chance.random() < 0.5:
            return "PublishContract", pb.PublishContractRequest(
                board=board, contract=self._contract(), session_id=session_id
            )
        contracts = [self._contract() for _ in range(self.chance.randrange(4))]
        return "PublishContracts", pb.PublishContractsRequest(
            board=board, contracts=contracts, session_id=session_id
        )

    def _claim(self, board: str) -> tuple[str, Any]:
        owner, session_id = self.chance.choice(PHASES), self._in_session()
        if self.chance.random() < 0.5:
            return "ClaimFile", pb.ClaimFileRequest(
                board=board,
                filepath=self.chance.choice(FILES),
                owner=owner,
                session_id=session_id,
            )
        files = self.chance.sample(FILES, self.chance.randrange(1, 4))
        return "ClaimFiles", pb.ClaimFilesRequest(
            board=board, filepaths=files, owner=owner, session_id=session_id
        )

    def _release(self, board: str) -> tuple[str, Any]:
        files = self.chance.sample(FILES, self.chance.randrange(3))
        return "ReleaseClaims", pb.ReleaseClaimsRequest(
            board=board, owner=self.chance.choice(PHASES), filepaths=files
        )

    def _complete(self, board: str) -> tuple[str, Any]:
        return "CompletePhase", pb.CompletePhaseRequest(
            board=board,
            phase_id=self.chance.choice(PHASES),
            state=self.chance.choice((pb.PHASE_STATE_DONE, pb.PHASE_STATE_FAILED)),
            contracts=[self._contract() for _ in range(self.chance.randrange(3))],
            session_id=self._in_session(),
        )

    def _open_session(self, board: str, ttl: float) -> pb.OpenSessionRequest:
        span = Duration()
        span.FromMilliseconds(int(ttl * 1000))
        return pb.OpenSessionRequest(
            board=board,
            worker=self.name,
            ttl=span,
            on_expiry=self.chance.choice((pb.ON_EXPIRY_FAIL, pb.ON_EXPIRY_REQUEUE)),
        )

    def _session(self, board: str) -> tuple[str, Any]:
        if not self.sessions or self.chance.random() < 0.3:
            return "OpenSession", self._open_session(board, self.chance.choice(TTL))
        named = {"board": board, "session_id": self.chance.choice(self.sessions)}
        if self.chance.random() < 0.3:
            return "CloseSession", pb.CloseSessionRequest(**named)
        return "RenewSession", pb.RenewSessionRequest(**named)

    def _read(self, board: str) -> tuple[str, Any]:
        match self.chance.randrange(8):
            case 0 | 1:
                return "GetPhaseState", pb.GetPhaseStateRequest(
                    board=board, phase_id=self.chance.choice(PHASES)
                )
            case 2:
                return "GetFileOwner", pb.GetFileOwnerRequest(
                    board=board, filepath=self.chance.choice(FILES)
                )
            case 3:
                return "ListPhases", pb.ListPhasesRequest(board=board)
            case 4 | 5:
                return "ListContracts", pb.ListContractsRequest(board=board)
            case 6:
                return "GetSnapshot", pb.GetSnapshotRequest(board=board)
            case _:
                method = self.chance.choice(("ListClaims", "ListSessions"))
                return method, getattr(pb, f"{method}Request")(board=board)

    def _archive(self, board: str) -> tuple[str, Any]:
        """Archive a board at a revision that it may have had."""
        known = [
            each.outcome.revision
            for each in self.world.histories[board].operations[-8:]
            if hasattr(each.outcome, "revision")
        ]
        if known and self.chance.random() < 0.2:
            return "ArchiveBoard", pb.ArchiveBoardRequest(board=board, revision=known[-1])
        return self._read(board)

    def _condition(self, board: str) -> pb.WaitForRequest:
        request = pb.WaitForRequest(board=board)
        for _ in range(self.chance.choice((1, 1, 2))):
            condition = request.conditions.add()
            match self.chance.randrange(3):
                case 0:
                    condition.phase.phase_id = self.chance.choice(PHASES)
                    condition.phase.states.append(self.chance.choice(STATES))
                case 1:
                    condition.contract.name = self.chance.choice(NAMES)
                case _:
                    condition.file_free.filepath = self.chance.choice(FILES)
        return request


async def _outcome(going: ServerCall, method: str) -> Message:
    """Return a call's reply; the messages of a stream are merged into one."""
    if method not in STREAMS:
        return RESPONSES[method].FromString(await going.outcome)
    parts = []
    while (message := await going.next_message()) is not None:
        parts.append(message)
    return RESPONSES[method].FromString(b"".join(parts))
