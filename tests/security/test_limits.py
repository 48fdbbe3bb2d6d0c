"""A call over a limit is refused at once with LIMIT_EXCEEDED, which names the limit."""

import asyncio
import threading

import grpc
import pytest
from hyperframe.frame import RstStreamFrame

from board_client import (
    AsyncBoardClient,
    BoardClient,
    Contract,
    Credentials,
    FileFree,
    LimitExceeded,
    PhaseIn,
)
from board_client.v1 import board_pb2 as pb
from board_server.config.schema import Config
from board_server.errors import StoreUnavailable
from board_server.model import PhaseChange, PhaseState
from board_server.principal import Role
from board_server.rpc import server as server_module
from board_server.sqlite import SqliteStore
from tests.security.raw import Raw, flood_of
from tests.security.raw import refused as refused_streams
from tests.security.requests import call, code_of, sample
from tests.support.secured import ANY_PORT, bearer, metadata_of, reason_of, running, stub


@pytest.fixture
def serve(tmp_path):
    """Make a server with these settings."""

    def make(**settings):
        return running(Config(tmp_path / "boards", "b", (ANY_PORT,), **settings))

    return make


def refused(stub, method, request, metadata=()) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as error:
        call(stub, method, request, metadata)
    return error.value.code(), reason_of(error.value), metadata_of(error.value)


def exceeded(limit: str, maximum: int):
    metadata = {"limit": limit, "maximum": str(maximum)}
    return grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", metadata


BUSY = pb.WaitCondition(phase=pb.PhaseCondition(phase_id="p", states=[pb.PHASE_STATE_DECOMPOSED]))
OK = grpc.StatusCode.OK
NEVER = pb.WaitForRequest(conditions=[BUSY])


def test_the_watches_of_one_caller_are_limited(serve):
    with serve(max_watches=2) as server, server.channel() as channel:
        board = stub(channel)
        going = [board.Watch(pb.WatchRequest()) for _ in range(2)]
        for each in going:
            next(each)
        assert refused(board, "Watch", pb.WatchRequest()) == exceeded("watches", 2)
        board.GetPhaseState(sample("GetPhaseState", ""))  # nothing else is held up
        going[0].cancel()
        # The server notices the cancellation a little later.
        while code_of(board, "Watch", pb.WatchRequest()) is not grpc.StatusCode.OK:
            pass


def test_watches_are_counted_for_each_token(serve, tokens):
    first, second = tokens.add("first"), tokens.add("second")
    with serve(max_watches=1, tokens=tokens.path) as server, server.channel() as channel:
        board = stub(channel)
        watch = board.Watch(pb.WatchRequest(), metadata=bearer(first))
        next(watch)
        refusal = refused(board, "Watch", pb.WatchRequest(), bearer(first))
        assert refusal == exceeded("watches", 1)
        other = board.Watch(pb.WatchRequest(), metadata=bearer(second))
        next(other)
        watch.cancel()
        other.cancel()


def test_boards_kept_open_by_the_watches_of_one_caller_are_limited(serve, tokens):
    """A caller may keep a quarter of the eight boards open, so that others have room."""
    greedy, honest = tokens.add("greedy"), tokens.add("honest", role=Role.ADMIN)
    with serve(max_boards=8, tokens=tokens.path) as server, server.channel() as channel:
        board = stub(channel)

        def watch(name):
            return board.Watch(pb.WatchRequest(board=name), metadata=bearer(greedy))

        for number in range(8):
            board.OpenBoard(pb.OpenBoardRequest(board=f"b{number}"), metadata=bearer(honest))
        watches = [watch(name) for name in ("b0", "b0", "b1", "b", "")]
        for each in watches:
            next(each)
        wait = pb.WaitForRequest(board="b2", conditions=[BUSY])
        for method, request in (("Watch", pb.WatchRequest(board="b2")), ("WaitFor", wait)):
            refusal = refused(board, method, request, bearer(greedy))
            assert refusal == exceeded("boards kept open", 2)
        for number in range(8):
            state = pb.GetPhaseStateRequest(board=f"b{number}", phase_id="p")
            board.GetPhaseState(state, metadata=bearer(honest))
        for each in watches[:2]:
            each.cancel()
        # The server notices the cancellation a little later.
        while code_of(board, "Watch", pb.WatchRequest(board="b2"), bearer(greedy)) is not OK:
            pass


def test_boards_kept_open_by_the_sessions_of_one_caller_are_limited(serve, tokens):
    """A quarter of eight, with those it watches; the default board does not count."""
    greedy, honest = tokens.add("greedy", role=Role.WORKER), tokens.add("honest", role=Role.ADMIN)
    with serve(max_boards=8, tokens=tokens.path) as server, server.channel() as channel:
        board = stub(channel)

        def opening(name):
            return pb.OpenSessionRequest(board=name, worker="w", ttl={"seconds": 3600})

        def open_session(name):
            return board.OpenSession(opening(name), metadata=bearer(greedy)).session.session_id

        for number in range(8):
            board.OpenBoard(pb.OpenBoardRequest(board=f"b{number}"), metadata=bearer(honest))
        opened = {name: open_session(name) for name in ("b0", "b0", "", "b", "b1")}
        too_many = exceeded("boards kept open", 2)
        assert refused(board, "OpenSession", opening("b2"), bearer(greedy)) == too_many
        assert refused(board, "Watch", pb.WatchRequest(board="b2"), bearer(greedy)) == too_many
        for number in range(8):
            state = pb.GetPhaseStateRequest(board=f"b{number}", phase_id="p")
            board.GetPhaseState(state, metadata=bearer(honest))
        close = pb.CloseSessionRequest(board="b1", session_id=opened["b1"])
        board.CloseSession(close, metadata=bearer(greedy))
        open_session("b2")


def test_sessions_from_before_a_restart_count_against_the_caller_that_renews_them(serve, tokens):
    one, other = (tokens.add(name, role=Role.WORKER) for name in ("one", "other"))
    opening = sample("OpenSession", "")

    def renew(board, session_id):
        renewal = pb.RenewSessionRequest(session_id=session_id)
        board.RenewSession(renewal, metadata=bearer(one))

    with serve(tokens=tokens.path) as server, server.channel() as channel:
        before = [stub(channel).OpenSession(opening, metadata=bearer(one)) for _ in range(2)]
    first, second = (opened.session.session_id for opened in before)
    with serve(tokens=tokens.path, max_sessions=2) as server, server.channel() as channel:
        board = stub(channel)
        renew(board, first)
        board.OpenSession(opening, metadata=bearer(one))
        for _ in range(2):
            renew(board, second)  # although the caller has as many as it may have
        too_many = exceeded("sessions", 2)
        assert refused(board, "OpenSession", opening, bearer(one)) == too_many
        board.OpenSession(opening, metadata=bearer(other))
        close = pb.CloseSessionRequest(session_id=first)
        board.CloseSession(close, metadata=bearer(one))
        assert refused(board, "OpenSession", opening, bearer(one)) == too_many
        close = pb.CloseSessionRequest(session_id=second)
        board.CloseSession(close, metadata=bearer(one))
        board.OpenSession(opening, metadata=bearer(one))


def test_boards_that_sessions_from_before_a_restart_keep_open(serve):
    """Two of eight, as for new sessions."""
    opened = {}
    with serve(max_boards=8) as server, server.channel() as channel:
        for name in ("b0", "b1", "b2"):
            stub(channel).OpenBoard(pb.OpenBoardRequest(board=name))
        for name in ("b0", "b1"):
            opening = pb.OpenSessionRequest(board=name, worker="w", ttl={"seconds": 3600})
            opened[name] = stub(channel).OpenSession(opening).session.session_id
    with serve(max_boards=8) as server, server.channel() as channel:
        board = stub(channel)
        for name, session_id in opened.items():
            board.RenewSession(pb.RenewSessionRequest(board=name, session_id=session_id))
        too_many = exceeded("boards kept open", 2)
        assert refused(board, "Watch", pb.WatchRequest(board="b2")) == too_many
        board.CloseSession(pb.CloseSessionRequest(board="b1", session_id=opened["b1"]))
        next(board.Watch(pb.WatchRequest(board="b2")))


async def test_waiters_of_one_caller(serve):
    with serve(max_waiters=3) as server:
        async with AsyncBoardClient(server.address, timeout=60) as client:
            never = client.wait_for
            waits = {asyncio.create_task(never(PhaseIn("p", "decomposed"))) for _ in range(4)}
            done, waiting = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            (over,) = done
            with pytest.raises(LimitExceeded) as error:
                over.result()
            assert (error.value.limit, error.value.maximum) == ("waiters", 3)
            await client.set_phase_state("p", "decomposed")
            await asyncio.gather(*waiting)
            await client.wait_for(FileFree("a.go"))


def test_all_calls_together_are_limited(serve):
    with serve(max_calls=1) as server, Raw(server.address) as raw, server.channel() as channel:
        raw.call("WaitFor", NEVER)
        until_active(server, 1)  # not by a call, which would count too
        refusal = refused(stub(channel), "GetPhaseState", sample("GetPhaseState", ""))
        assert refusal == exceeded("calls", 1)


def test_calls_of_one_caller_leave_room_for_the_others(serve, tokens):
    """Also calls whose requests never arrive."""
    greedy, honest = tokens.add("greedy"), tokens.add("honest")
    with (
        serve(max_calls=8, tokens=tokens.path) as server,
        Raw(server.address) as raw,
        server.channel() as channel,
    ):
        board = stub(channel)
        headers = raw.headers("GetPhaseState", dict(bearer(greedy)))
        *_, last = (raw.open(headers) for _ in range(8))
        assert "the limit is 4" in raw.trailers_of(last)["grpc-message"]
        board.GetPhaseState(sample("GetPhaseState", ""), metadata=bearer(honest))
        refusal = refused(board, "GetPhaseState", sample("GetPhaseState", ""), bearer(greedy))
        assert refusal == exceeded("calls of one caller", 4)


def test_calls_with_unread_replies_are_counted(serve):
    with (
        serve(max_calls=4) as server,
        Raw(server.address, window=0) as raw,
        server.channel() as channel,
    ):
        board = stub(channel)
        request = sample("OpenBoard", "")
        for _ in range(2):
            raw.call("OpenBoard", request)
        raw.meet()
        codes = {code_of(board, "OpenBoard", request) for _ in range(100)}
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        raw.socket.close()
        # The server notices the cancellation a little later.
        while code_of(board, "OpenBoard", request) is not OK:
            pass


def test_the_calls_of_one_connection_are_limited(serve):
    with serve(max_calls_per_connection=5) as server, Raw(server.address) as raw:
        streams = [raw.call("WaitFor", NEVER) for _ in range(8)]
        resets = (frame for frame in raw.frames() if isinstance(frame, RstStreamFrame))
        assert {next(resets).stream_id for _ in range(3)} == set(streams[5:])


def test_one_connection_may_have_only_so_many_streams(serve):
    with serve() as server, Raw(server.address) as raw:
        received = raw.pour(flood_of(20_000, "GetPhaseState"))
        assert refused_streams(received) == 20_000 - Config().max_calls_per_connection


def until_active(server, calls):
    while server.metrics.registry.get_sample_value("board_rpcs_active") != calls:
        pass


async def test_calls_beyond_those_of_one_connection_wait_in_their_client(serve):
    with (
        serve(max_calls_per_connection=3) as server,
        server.channel(options=[("grpc.use_local_subchannel_pool", 1)]) as other,
    ):
        async with AsyncBoardClient(server.address, timeout=60) as client:
            waits = [asyncio.create_task(client.wait_for(PhaseIn("p", "done"))) for _ in range(10)]
            await asyncio.to_thread(until_active, server, 3)
            done = pb.SetPhaseStateRequest(phase_id="p", state=pb.PHASE_STATE_DONE)
            await asyncio.to_thread(stub(other).SetPhaseState, done)
            await asyncio.gather(*waits)


def test_connections_are_limited(serve):
    with (
        serve(max_connections=2) as server,
        Raw(server.address),
        Raw(server.address),
        Raw(server.address, preface=False) as third,
    ):
        assert third.closed()


def test_a_request_over_the_limit_of_its_method_is_refused(serve):
    with serve(max_request=2**20) as server, server.channel() as channel:
        request = pb.SetPhaseStateRequest(phase_id="p" * 2**20)
        with pytest.raises(grpc.RpcError) as error:
            stub(channel).SetPhaseState(request)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_queued_writes_are_limited(tmp_path):
    committing, proceed = threading.Event(), threading.Event()

    def block(*_):
        committing.set()
        proceed.wait()

    store = SqliteStore(tmp_path, max_queue=2, on_commit=block)
    await store.open_board("b")
    change = PhaseChange("p", PhaseState.RUNNING)
    first = asyncio.create_task(store.set_phase_state("b", change))
    await asyncio.to_thread(committing.wait)
    waiting = [asyncio.create_task(store.set_phase_state("b", change)) for _ in range(2)]
    await asyncio.sleep(0)  # let them start
    while (await store.stats())[0].writer_queue < 2:
        pass
    with pytest.raises(StoreUnavailable, match="2 writes already wait"):
        await store.set_phase_state("b", change)
    proceed.set()
    await asyncio.gather(first, *waiting)
    await store.close()


def publish_large(address: str) -> None:
    """Make a list of contracts whose page is some 300 KiB."""
    with BoardClient(address) as client:
        client.publish_contract(Contract("p", "function", "F", signature="x" * 300 * 2**10))


def statuses(raw: Raw, streams: list[int]) -> dict[int, str]:
    """Return the status of each stream, "" for one whose reply waits to be read."""
    found: dict[int, str] = {}
    for stream, headers in raw.trailers():
        found[stream] = headers.get("grpc-status", "")
        if set(found) >= set(streams):
            break
    return found


def test_replies_that_are_not_read_are_limited(serve):
    with serve(max_unread=2**20) as server:
        publish_large(server.address)
        with Raw(server.address, window=0) as raw:
            streams = [raw.call("ListContracts", pb.ListContractsRequest()) for _ in range(6)]
            found = statuses(raw, streams)
            assert sorted(found.values()) == ["", "", "", "8", "8", "8"]
            for stream in streams:
                raw.reset(stream)
            while True:  # until the server no longer holds them
                (status,) = statuses(
                    raw, [raw.call("ListContracts", pb.ListContractsRequest())]
                ).values()
                if status == "":
                    break
                assert status == "8"


def test_a_write_is_answered_even_if_much_output_is_unread(serve):
    with serve(max_unread=1) as server:
        publish_large(server.address)  # its reply has the contract


def test_snapshots_that_are_not_read_are_limited(serve):
    with serve(max_snapshots=2) as server:
        publish_large(server.address)
        with Raw(server.address, window=0) as raw:
            streams = [raw.call("GetSnapshot", pb.GetSnapshotRequest()) for _ in range(4)]
            assert sorted(statuses(raw, streams).values()) == ["", "", "8", "8"]


class SlowSnapshots(SqliteStore):
    """A store that makes no snapshot and loads no cache before `go_on` is set."""

    making, go_on = threading.Event(), threading.Event()

    async def get_snapshot(self, board):
        self.making.set()
        await asyncio.to_thread(self.go_on.wait)
        return await super().get_snapshot(board)

    async def list_claims(self, board, owner, page):
        await asyncio.to_thread(self.go_on.wait)
        return await super().list_claims(board, owner, page)


def test_the_first_snapshot_of_a_small_board_leaves_room_for_other_replies(tmp_path):
    config = Config(tmp_path, "b", (ANY_PORT,), max_unread=2**20)
    with running(config, store=SlowSnapshots) as server, server.channel() as channel:
        publish_large(server.address)
        snapshot = stub(channel).GetSnapshot(pb.GetSnapshotRequest())
        assert SlowSnapshots.making.wait(60)
        try:
            listed = stub(channel).ListContracts(pb.ListContractsRequest())
        finally:
            SlowSnapshots.go_on.set()
        (held,) = (contract for part in snapshot for contract in part.contracts)
        assert [held] == list(listed.contracts)


def test_a_peer_that_is_gone_is_dropped(serve):
    with serve(keepalive=0.5) as server, Raw(server.address) as raw:
        raw.call("Watch", pb.WatchRequest())
        assert raw.closed()  # it answers no ping


def test_a_connection_that_never_sends_a_byte_is_closed(serve, monkeypatch):
    monkeypatch.setattr(server_module, "HANDSHAKE", 500)
    with serve() as server, Raw(server.address, preface=False) as raw:
        assert raw.closed()


def test_limits_hold_for_a_token_over_all_its_connections(serve, tokens):
    secret = tokens.add("reader", Role.READER)
    with serve(max_watches=1, tokens=tokens.path) as server:
        credentials = Credentials(token=secret)
        with (
            BoardClient(server.address, credentials=credentials) as first,
            BoardClient(server.address, credentials=credentials) as second,
        ):
            watch = first.watch()
            with pytest.raises(LimitExceeded):
                second.watch()
            watch.close()
