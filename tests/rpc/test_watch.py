"""Watch: which events a stream has, in which order, where it resumes and how it ends."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import grpc
import pytest

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub
from board_server.sqlite import SqliteStore
from board_server.sqlite.checkpoints import Checkpoints
from board_server.watch import subscription
from board_server.watch.encoded_commit import ENCODED_AT_ONCE, EncodedCommit
from tests.rpc.service import refusal_of
from tests.support.servers import server_process, server_thread

PATIENCE = 30
"""Seconds after which a test fails."""


@pytest.fixture
def watch(grpc_stub, board):
    """A function that begins a Watch, which ends with the test."""
    streams = []

    def watch(stub=grpc_stub, **asked):
        request = pb.WatchRequest(**{"board": board} | asked)
        streams.append(stub.Watch(request, timeout=PATIENCE))
        return streams[-1]

    yield watch
    for stream in streams:
        stream.cancel()


@pytest.fixture
def claim(grpc_stub, board):
    """A function that claims a file and returns the revision that this made."""
    return lambda path: (
        grpc_stub.ClaimFile(pb.ClaimFileRequest(board=board, filepath=path, owner="p")).revision
    )


@pytest.fixture
def write_all(grpc_stub, board):
    """A function that makes at least one event of every kind, in revisions 1 to 7."""

    def write_all():
        opened = grpc_stub.OpenSession(pb.OpenSessionRequest(board=board, ttl={"seconds": 60}))
        bound = opened.session.session_id
        grpc_stub.SetPhaseState(
            pb.SetPhaseStateRequest(
                board=board, phase_id="p", state="PHASE_STATE_RUNNING", session_id=bound
            )
        )
        grpc_stub.ClaimFile(
            pb.ClaimFileRequest(board=board, filepath="a.go", owner="p", session_id=bound)
        )
        grpc_stub.PublishContracts(
            pb.PublishContractsRequest(board=board, contracts=[contract("A"), contract("B")])
        )
        grpc_stub.CloseSession(pb.CloseSessionRequest(board=board, session_id=bound))
        grpc_stub.ClaimFiles(
            pb.ClaimFilesRequest(board=board, filepaths=["a.go", "b.go"], owner="p")
        )
        grpc_stub.ReleaseClaims(pb.ReleaseClaimsRequest(board=board, owner="p"))

    return write_all


class AfterCommit:
    """Stops the writer of a board after its commit, before followers receive it."""

    def __init__(self):
        self.reached = threading.Event()
        self._free = threading.Event()
        self._free.set()

    def hold(self):
        self.reached.clear()
        self._free.clear()

    def proceed(self):
        self._free.set()

    def __call__(self):
        self.reached.set()
        self._free.wait(PATIENCE)


@pytest.fixture
def after_commit(monkeypatch):
    """An AfterCommit that stops the writers of all boards opened from now on."""
    gate = AfterCommit()
    note = Checkpoints._note

    def held(log, *commit):
        gate()
        return note(log, *commit)

    monkeypatch.setattr(Checkpoints, "_note", held)
    yield gate
    gate.proceed()


def contract(name, **fields):
    return pb.Contract(producer="p", kind=pb.CONTRACT_KIND_TYPE, name=name, **fields)


def messages_until(stream, revision):
    """Read the stream until everything up to the revision has been delivered."""
    read = []
    while not read or read[-1].revision < revision:
        read.append(next(stream))
    assert read[-1].revision == revision
    return read


def events_of(messages):
    return [event for message in messages for event in message.events]


def ended(stream):
    """Read the stream to its end; return its last messages, and the refusal that ended it."""
    read = []
    with pytest.raises(grpc.RpcError) as caught:
        read.extend(stream)  # keeps what came before the error
    return read, refusal_of(caught.value)


def test_the_first_message_is_a_bookmark_of_the_current_revision(grpc_stub, board, watch, claim):
    board_id = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board.board_id
    for revision in range(3):
        assert next(watch()) == pb.WatchResponse(revision=revision, board_id=board_id)
        claim(f"{revision}.go")


def test_the_first_message_after_a_revision_is_a_bookmark_of_that(watch, claim):
    for number in range(3):
        claim(f"{number}.go")
    for after in range(4):
        first = next(watch(after_revision=after))
        assert (first.revision, list(first.events)) == (after, [])
        assert first.board_id


def test_events_come_as_they_happen_in_order_each_once(watch, claim):
    stream = watch()
    next(stream)
    for number in range(20):
        revision = claim(f"{number}.go")
        message = next(stream)
        (event,) = message.events
        assert (message.revision, event.revision) == (revision, revision)
        assert event.claimed.filepath == f"{number}.go"


def test_an_event_has_the_whole_record_its_time_and_its_cause(grpc_stub, board, watch):
    stream = watch()
    next(stream)
    reply = grpc_stub.SetPhaseState(
        pb.SetPhaseStateRequest(
            board=board, phase_id="p", state=pb.PHASE_STATE_RUNNING, worker="w1"
        )
    )
    (event,) = next(stream).events
    assert event.phase == reply.phase
    assert event.time == reply.phase.updated_at
    assert event.cause == pb.EVENT_CAUSE_CALL
    assert event.revision == reply.revision


def test_a_watch_has_every_kind_of_event(watch, write_all):
    stream = watch()
    next(stream)
    write_all()
    changes_of_messages = [
        [event.WhichOneof("change") for event in message.events]
        for message in messages_until(stream, 7)
    ]
    flat = [sorted(changes) for changes in changes_of_messages if changes]
    assert [change for changes in flat for change in changes] == [
        *("session_opened", "phase", "claimed", "contract", "contract"),
        *("phase", "released", "session_ended"),
        *("claimed", "claimed", "released", "released"),
    ]


@pytest.mark.parametrize("after", [None, 0])
def test_all_events_of_a_transaction_come_in_one_message(grpc_stub, board, watch, after):
    """Both live events and those from the table."""
    stream = watch() if after is None else None
    for number in range(5):
        batch = [contract(f"{number} {part}") for part in range(100)]
        grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=batch))
    messages = messages_until(stream or watch(after_revision=after), 5)
    sizes = {}
    for message in messages:
        for revision in {event.revision for event in message.events}:
            assert revision not in sizes
            sizes[revision] = sum(event.revision == revision for event in message.events)
    assert sizes == dict.fromkeys(range(1, 6), 100)


def test_no_event_comes_before_its_commit(grpc_stub, board, watch, claim):
    stream = watch()
    next(stream)
    writer = threading.Thread(target=lambda: [claim(f"{number}.go") for number in range(100)])
    writer.start()
    seen = 0
    while seen < 100:
        for event in next(stream).events:
            request = pb.GetFileOwnerRequest(board=board, filepath=event.claimed.filepath)
            assert grpc_stub.GetFileOwner(request).owner == "p"
            seen += 1
    writer.join()


KINDS = {
    pb.EVENT_KIND_PHASE: {"phase"},
    pb.EVENT_KIND_CONTRACT: {"contract"},
    pb.EVENT_KIND_CLAIM: {"claimed", "released"},
    pb.EVENT_KIND_SESSION: {"session_opened", "session_ended"},
}


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    "kinds", [*([kind] for kind in KINDS), list(KINDS)[::2], [*KINDS, *KINDS]], ids=str
)
def test_a_watch_of_some_kinds_has_only_their_events_but_every_revision(
    watch, write_all, kinds, live
):
    stream = watch(kinds=kinds)
    if live:
        next(stream)
    write_all()
    messages = messages_until(stream if live else watch(after_revision=0, kinds=kinds), 7)
    changes = {event.WhichOneof("change") for event in events_of(messages)}
    assert changes == set().union(*(KINDS[kind] for kind in kinds))
    revisions = [message.revision for message in messages]
    assert revisions == sorted(set(revisions))


def test_a_watch_of_past_revisions_has_the_same_events_as_a_live_one(watch, write_all):
    stream = watch()
    next(stream)
    write_all()
    live = events_of(messages_until(stream, 7))
    assert [event.revision for event in live] == [1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 7, 7]
    assert events_of(messages_until(watch(after_revision=0), 7)) == live
    for after in range(8):
        resumed = events_of(messages_until(watch(after_revision=after), 7))
        assert resumed == [event for event in live if event.revision > after]


def test_a_watcher_that_resumes_while_others_write_misses_and_repeats_nothing(watch, claim):
    writer = threading.Thread(target=lambda: [claim(f"{number}.go") for number in range(300)])
    writer.start()
    after, revisions, streams = 0, [], 0
    while after < 300:
        stream = watch(after_revision=after)
        streams += 1
        for _ in range(3):
            message = next(stream)
            revisions += [event.revision for event in message.events]
            after = message.revision
            if after == 300:
                break
        stream.cancel()
    writer.join()
    assert revisions == list(range(1, 301))
    assert streams > 1


def test_a_watch_after_a_revision_that_followers_have_not_received_yet_is_accepted(
    tmp_path, watch, after_commit
):
    """A reader may see a commit before followers receive it."""
    with (
        server_thread(tmp_path) as address,
        grpc.insecure_channel(address) as channel,
        ThreadPoolExecutor(1) as pool,
    ):
        stub = BoardServiceStub(channel)
        next(watch(stub, board=""))
        after_commit.hold()
        claim = pool.submit(stub.ClaimFile, pb.ClaimFileRequest(filepath="a.go", owner="p"))
        assert after_commit.reached.wait(PATIENCE)
        revision = stub.OpenBoard(pb.OpenBoardRequest()).board.revision
        assert revision == 1
        stream = watch(stub, board="", after_revision=revision)
        assert next(stream).revision == 1
        _, found = ended(watch(stub, board="", after_revision=revision + 1))
        assert found.fields == ("after_revision",)
        assert not claim.done(), "the commit was not held"
        after_commit.proceed()
        assert claim.result().revision == 1
        stub.ClaimFile(pb.ClaimFileRequest(filepath="b.go", owner="p"))
        events = events_of(messages_until(stream, 2))
        assert [event.claimed.filepath for event in events] == ["b.go"]


def test_two_boards_never_mix(grpc_stub, board, watch, claim):
    other = f"{board}-other"
    grpc_stub.OpenBoard(pb.OpenBoardRequest(board=other))
    stream = watch(board=other)
    next(stream)
    claim("a.go")
    grpc_stub.ClaimFile(pb.ClaimFileRequest(board=other, filepath="b.go", owner="q"))
    (event,) = next(stream).events
    assert (event.revision, event.claimed.filepath) == (1, "b.go")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"after_revision": -1}, "after_revision"),
        ({"after_revision": 1}, "after_revision"),
        ({"after_revision": 2**63 - 1}, "after_revision"),
        ({"kinds": [pb.EVENT_KIND_UNSPECIFIED]}, "kinds[0]"),
        ({"kinds": [pb.EVENT_KIND_PHASE, 99]}, "kinds[1]"),
        ({"board": "../x"}, "board"),
        ({"board_id": "\n"}, "board_id"),
    ],
    ids=str,
)
def test_an_invalid_watch_is_refused_with_its_field(watch, asked, field):
    messages, found = ended(watch(**asked))
    assert messages == []
    assert found.code == grpc.StatusCode.INVALID_ARGUMENT
    assert found.reason == "INVALID_ARGUMENT"
    assert found.fields == (field,)


def test_a_board_that_was_never_opened_is_not_found(watch):
    messages, found = ended(watch(board="nowhere"))
    assert (messages, found.reason, found.metadata) == (
        [],
        "BOARD_NOT_FOUND",
        {"board": "nowhere"},
    )


def test_a_board_can_be_watched_once_it_exists(grpc_stub, board, watch):
    late = f"{board}-late"
    ended(watch(board=late))
    grpc_stub.OpenBoard(pb.OpenBoardRequest(board=late))
    assert next(watch(board=late)).revision == 0


def test_an_idle_watch_receives_bookmarks(watch, claim, monkeypatch):
    monkeypatch.setattr(subscription, "BOOKMARK", 0.05)
    stream = watch()
    assert [next(stream).revision for _ in range(3)] == [0, 0, 0]
    claim("a.go")
    messages = messages_until(stream, 1)
    assert len(events_of(messages)) == 1
    assert next(stream) == pb.WatchResponse(revision=1)


def test_the_bookmark_comes_every_ten_seconds():
    assert subscription.BOOKMARK == 10


def test_a_compacted_revision_is_refused_with_the_oldest_one_kept(tmp_path, watch):
    with (
        server_thread(tmp_path, store=partial(SqliteStore, keep_revisions=10)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        stub = BoardServiceStub(channel)
        for number in range(50):
            stub.ClaimFile(pb.ClaimFileRequest(filepath=f"{number}.go", owner="p"))
        messages, found = ended(watch(stub, board="", after_revision=5))
        assert events_of(messages) == []
        assert (found.code, found.reason) == (
            grpc.StatusCode.OUT_OF_RANGE,
            "REVISION_COMPACTED",
        )
        oldest = int(found.metadata["oldest_revision"])
        assert 5 < oldest <= 40
        events = events_of(messages_until(watch(stub, board="", after_revision=oldest), 50))
        assert [event.revision for event in events] == list(range(oldest + 1, 51))
        _, found = ended(watch(stub, board="", after_revision=oldest - 1))
        assert found.metadata == {"oldest_revision": str(oldest)}


def remove(directory, board):
    for file in directory.glob(f"{board}.board.db*"):
        file.unlink()


def test_a_watch_ends_when_its_board_is_replaced(grpc_stub, grpc_directory, board, watch, claim):
    claim("a.go")
    stream = watch()
    old = next(stream).board_id
    remove(grpc_directory, board)
    new = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board
    messages, found = ended(stream)
    assert events_of(messages) == []
    assert (found.code, found.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BOARD_REPLACED")
    assert set(found.metadata) == {"board_id"}
    assert new.board_id != old
    assert next(watch()).board_id == new.board_id


def test_a_watch_ends_when_its_board_is_deleted_though_nobody_calls(grpc_directory, board, watch):
    stream = watch()
    next(stream)
    remove(grpc_directory, board)
    _, found = ended(stream)
    assert (found.reason, found.metadata) == ("BOARD_REPLACED", {"board_id": ""})
    _, found = ended(watch())
    assert found.reason == "BOARD_NOT_FOUND"


def test_resuming_on_a_board_that_was_replaced_is_refused_with_its_id(
    grpc_stub, grpc_directory, board, watch, claim
):
    claim("a.go")
    old = next(watch()).board_id
    remove(grpc_directory, board)
    new = grpc_stub.OpenBoard(pb.OpenBoardRequest(board=board)).board.board_id
    claim("b.go")
    for after in (0, 1):
        messages, found = ended(watch(after_revision=after, board_id=old))
        assert (messages, found.reason, found.metadata) == ([], "BOARD_REPLACED", {"board_id": new})
    messages = messages_until(watch(after_revision=0, board_id=new), 1)
    assert [event.claimed.filepath for event in events_of(messages)] == ["b.go"]


def test_the_id_of_a_board_holds_across_a_restart(tmp_path, watch):
    for restart in range(3):
        with (
            server_thread(tmp_path) as address,
            grpc.insecure_channel(address) as channel,
        ):
            stub = BoardServiceStub(channel)
            if not restart:
                board_id = next(watch(stub, board="")).board_id
            if restart == 2:
                messages, found = ended(watch(stub, board="", board_id=board_id))
                assert (messages, found.reason) == ([], "BOARD_REPLACED")
            else:
                assert next(watch(stub, board="", board_id=board_id)).board_id == board_id
        if restart == 1:
            remove(tmp_path, "*")


NARROW = [("grpc.http2.bdp_probe", 0)]
"""Options of a channel with a small flow-control window for unread messages."""


def test_a_watch_that_is_not_read_is_ended_and_does_not_delay_others(
    grpc_stub, grpc_addr, board, watch, monkeypatch
):
    monkeypatch.setattr(subscription, "MAX_BEHIND", 2**18)
    with grpc.insecure_channel(grpc_addr, options=NARROW) as channel:
        slow, fast = watch(BoardServiceStub(channel)), watch()
        next(slow)
        next(fast)
        for number in range(1, 41):
            large = contract(f"{number}", signature="x" * 2**16)
            grpc_stub.PublishContract(pb.PublishContractRequest(board=board, contract=large))
            assert next(fast).revision == number  # each at once

        messages, found = ended(slow)
        assert (found.code, found.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "WATCH_TOO_SLOW",
        )
        last = int(found.metadata["last_revision"])
        assert last < 40
        # Every event up to `last_revision` has arrived, so resuming from there misses nothing.
        revisions = [event.revision for event in events_of(messages)]
        assert revisions == list(range(1, last + 1))
        resumed = events_of(messages_until(watch(after_revision=last), 40))
        assert [event.revision for event in resumed] == list(range(last + 1, 41))


def test_many_small_commits_make_a_watcher_too_slow_too(grpc_addr, board, watch, monkeypatch):
    monkeypatch.setattr(subscription, "MAX_COMMITS_BEHIND", 10)
    monkeypatch.setattr(subscription, "MAX_MESSAGE", 1)
    with grpc.insecure_channel(grpc_addr, options=NARROW) as channel:
        stub = BoardServiceStub(channel)
        slow = watch(stub)
        next(slow)
        for number in range(60):
            # Each event has a name of the greatest length.
            large = contract(f"{number}".rjust(4096), signature="x" * 4096)
            stub.PublishContract(pb.PublishContractRequest(board=board, contract=large))
        messages, found = ended(slow)
        assert found.reason == "WATCH_TOO_SLOW"
        last = int(found.metadata["last_revision"])
        assert [event.revision for event in events_of(messages)] == list(range(1, last + 1))


def test_no_event_is_sent_after_one_that_was_dropped(tmp_path, watch, after_commit, monkeypatch):
    """One group commit has so many revisions that the watch becomes too slow within it."""
    monkeypatch.setattr(subscription, "MAX_COMMITS_BEHIND", 5)
    with (
        server_thread(tmp_path) as address,
        grpc.insecure_channel(address) as channel,
    ):
        stub = BoardServiceStub(channel)
        stream = watch(stub, board="")
        next(stream)
        after_commit.hold()
        claims = [
            stub.ClaimFile.future(pb.ClaimFileRequest(filepath=f"{number}.go", owner="p"))
            for number in range(30)
        ]
        assert after_commit.reached.wait(PATIENCE)
        # The server has read this call after the claims, so all claims now wait for the writer.
        stub.GetFileOwner(pb.GetFileOwnerRequest(filepath="0.go"))
        after_commit.proceed()
        for claim in claims:
            claim.result()
        messages, found = ended(stream)
        assert found.reason == "WATCH_TOO_SLOW"
        last = int(found.metadata["last_revision"])
        assert [event.revision for event in events_of(messages)] == list(range(1, last + 1))
        resumed = events_of(messages_until(watch(stub, board="", after_revision=last), 30))
        assert [event.revision for event in resumed] == list(range(last + 1, 31))


def test_events_being_encoded_when_a_watch_ends_do_not_count_as_sent(
    grpc_stub, board, watch, claim, monkeypatch
):
    """Resuming from the last revision that the error names misses nothing."""
    begun, permits = threading.Semaphore(0), threading.Semaphore(0)
    encode = EncodedCommit._encode_in_steps

    async def held_up(commit):
        begun.release()
        await asyncio.to_thread(permits.acquire, timeout=PATIENCE)
        await encode(commit)

    def publish(name):
        many = [contract(f"{name} {number}") for number in range(ENCODED_AT_ONCE + 1)]
        grpc_stub.PublishContracts(pb.PublishContractsRequest(board=board, contracts=many))

    monkeypatch.setattr(EncodedCommit, "_encode_in_steps", held_up)
    monkeypatch.setattr(subscription, "MAX_COMMITS_BEHIND", 3)
    stream = watch()
    next(stream)
    publish("first")
    assert begun.acquire(timeout=PATIENCE)
    claim("a.go")  # it is queued, to be sent in one message with the next commit
    publish("second")
    permits.release()
    assert begun.acquire(timeout=PATIENCE)
    for number in range(3):  # the queue grows too long while that message is encoded
        claim(f"{number}.go")
    permits.release()
    messages, found = ended(stream)
    assert found.reason == "WATCH_TOO_SLOW"
    assert int(found.metadata["last_revision"]) == messages[-1].revision == 1


def test_a_single_commit_of_any_size_ends_no_watch_as_too_slow(
    grpc_stub, board, watch, monkeypatch
):
    monkeypatch.setattr(subscription, "MAX_BEHIND", 2**10)
    stream = watch()
    next(stream)
    large = contract("T", signature="x" * 2**20)
    grpc_stub.PublishContract(pb.PublishContractRequest(board=board, contract=large))
    assert len(events_of(messages_until(stream, 1))) == 1


def test_watchers_that_go_away_leave_no_trace(grpc_addr, watch, claim, caplog):
    """Also those that cancel while a message is sent to them."""
    writer = threading.Thread(target=lambda: [claim(f"{number}.go") for number in range(100)])
    writer.start()
    after = 0
    while after < 100:
        with grpc.insecure_channel(grpc_addr) as channel:
            streams = [watch(BoardServiceStub(channel), after_revision=after) for _ in range(5)]
            messages = [next(stream) for stream in streams for _ in range(2)]
            for stream in streams[::2]:
                stream.cancel()
        after = messages[-1].revision
    writer.join()
    assert caplog.records == []


def test_watches_end_with_the_server_which_ends_well(tmp_path, watch):
    with (
        server_process(tmp_path) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = BoardServiceStub(channel)
        streams = [watch(stub, board="") for _ in range(5)]
        for stream in streams:
            next(stream)
        reply = stub.ClaimFile(pb.ClaimFileRequest(filepath="a.go", owner="p"))
        assert server.stop() == 0
        for stream in streams:
            messages, found = ended(stream)
            assert [event.revision for event in events_of(messages)] == [reply.revision]
            assert (found.code, found.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "SHUTTING_DOWN",
            )


def test_the_revisions_of_messages_increase(watch, claim):
    stream = watch()
    threads = [
        threading.Thread(target=lambda n=n: [claim(f"{n} {number}.go") for number in range(25)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    messages = messages_until(stream, 100)
    for thread in threads:
        thread.join()
    assert all(one.revision < two.revision for one, two in pairwise(messages))
    for message in messages:
        assert all(event.revision <= message.revision for event in message.events)
