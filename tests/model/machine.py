"""Make random calls of a Store, and compare it with the model after each step.

A backend subclasses StoreMachine and says how to open its store.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from board_server.errors import BoardError
from board_server.model import (
    Cause,
    Change,
    Commit,
    Completion,
    ContractCondition,
    ContractDraft,
    ContractFilter,
    ContractKind,
    ContractStatus,
    FileCondition,
    IdempotencyKey,
    OnExpiry,
    PageRequest,
    PhaseChange,
    PhaseCondition,
    PhaseState,
    Revised,
    Session,
)
from board_server.store import Store
from tests.conformance.backend import key_of
from tests.model.board import UNKNOWN, Board, undated
from tests.model.skipping import SkippingLoop

NAME = "nebula"

TICKS = (1, -5, 1e-6, 0, 3600)
"""Seconds by which the clock moves between writes; negative where an operator sets it back."""

phase_ids = st.sampled_from(["a", "a", "ä", "B"])
states = st.sampled_from([state for state in PhaseState if state] + [PhaseState.RUNNING] * 4)
paths = st.sampled_from(["x.go", "y.go", "é.go", "X.go"])
workers = st.none() | st.sampled_from(["", "w1", "w2"])
ttls = st.sampled_from([timedelta(seconds=1000), timedelta(seconds=2000)])
drafts = st.builds(
    ContractDraft,
    producer=phase_ids,
    kind=st.sampled_from([ContractKind.TYPE, ContractKind.FILE]),
    name=st.sampled_from(["S", "T"]),
    signature=st.sampled_from(["", "one", "zwei"]),
    package=st.sampled_from(["", "p"]),
    status=st.sampled_from([ContractStatus.FULFILLED, ContractStatus.DISPUTED]),
)
batches = st.lists(drafts, max_size=4)
which_session = st.none() | st.integers(0, 2)
which_request = st.none() | st.integers(0, 2)

Result = Revised[Any] | tuple[type[BoardError], dict[str, Any]]


class Follower:
    needed = True

    def __init__(self) -> None:
        self.commits: list[Commit] = []
        self._awaited: tuple[int, asyncio.Event] | None = None

    def committed(self, commit: Commit) -> None:
        self.commits.append(commit)
        if self._awaited and len(self.commits) >= self._awaited[0]:
            self._awaited[1].set()

    def ended(self, error: BoardError) -> None:
        """The store was closed, and is opened again."""

    async def heard(self, commits: int) -> None:
        """Wait until this many commits were delivered."""
        if len(self.commits) < commits:
            self._awaited = (commits, asyncio.Event())
            await self._awaited[1].wait()


class StoreMachine(RuleBasedStateMachine):
    """The rules and invariants; a backend implements `open_store`."""

    def open_store(self, directory: Path, clock: Callable[[], datetime]) -> Store:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="model-"))
        self.runner = asyncio.Runner(loop_factory=SkippingLoop)
        self.now = datetime(2026, 2, 23, 5, 3, 45, 123456, UTC)
        self.ticks = itertools.cycle(TICKS)
        self.board = Board()
        self.ever: list[str] = []  # sessions, including those that have ended
        self.requests: dict[IdempotencyKey, Callable[[], None]] = {}
        self.renewed: dict[str, float] = {}
        self.open()
        self.open_session(timedelta(seconds=1000), OnExpiry.REQUEUE)

    def open(self) -> None:
        self.store = self.open_store(self.directory, lambda: self.now)
        self.follower = Follower()
        self.run(self.store.open_board(NAME))
        self.run(self.store.follow(NAME, self.follower))
        self.since = self.board.revision
        self.renewed = dict.fromkeys(self.board.sessions, self.loop.time())

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.store.close())
            self.runner.close()
            shutil.rmtree(self.directory)

    @property
    def loop(self) -> SkippingLoop:
        return self.runner.get_loop()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def both(self, theirs: Coroutine[Any, Any, Any], ours: Callable[[], Any]) -> Result:
        """Make the call in the store and in the model; the outcomes must be equal."""
        result = outcome(lambda: self.run(theirs))
        assert result == outcome(ours)
        return result

    def write(
        self,
        verb: str,
        *arguments: Any,
        ours: Callable[..., Any],
        session: str,
        request: int | None,
    ) -> None:
        """Make a write; with the number of an earlier request, repeat that one."""
        key = None if request is None else key_of(f"{verb} {request}")

        def do() -> None:
            self.now += timedelta(seconds=next(self.ticks))
            self.both(
                getattr(self.store, verb)(NAME, *arguments, key=key),
                lambda: self.board.transact(self.now, ours, session, key.id if key else ""),
            )

        (self.requests.setdefault(key, do) if key else do)()

    def session(self, number: int | None) -> str:
        """The ID of a live or ended session, or none."""
        return self.ever[number % len(self.ever)] if number is not None and self.ever else ""

    @rule(
        phase=phase_ids,
        state=states,
        worker=workers,
        expected=st.none() | states | st.just(PhaseState.UNSPECIFIED),
        session=which_session,
        request=which_request,
    )
    def set_phase_state(self, phase, state, worker, expected, session, request) -> None:
        change = PhaseChange(phase, state, worker, expected, self.session(session))
        self.write(
            "set_phase_state",
            change,
            ours=lambda now: self.board.set_phase_state(now, change),
            session=change.session_id,
            request=request,
        )

    @rule(phase=phase_ids, path=paths, session=st.integers(0, 2))
    def a_worker_begins(self, phase, path, session) -> None:
        self.set_phase_state(phase, PhaseState.RUNNING, "w", None, session, None)
        self.claim_file(path, phase, session, None)

    @rule(draft=drafts, session=which_session, request=which_request)
    def publish_contract(self, draft, session, request) -> None:
        session_id = self.session(session)
        self.write(
            "publish_contract",
            draft,
            session_id,
            ours=lambda now: self.board.publish_contract(now, draft),
            session=session_id,
            request=request,
        )

    @rule(batch=batches, session=which_session, request=which_request)
    def publish_contracts(self, batch, session, request) -> None:
        session_id = self.session(session)
        self.write(
            "publish_contracts",
            batch,
            session_id,
            ours=lambda now: self.board.publish(now, batch),
            session=session_id,
            request=request,
        )

    @rule(path=paths, owner=phase_ids, session=which_session, request=which_request)
    def claim_file(self, path, owner, session, request) -> None:
        session_id = self.session(session)
        self.write(
            "claim_file",
            path,
            owner,
            session_id,
            ours=lambda now: self.board.claim_files(now, [path], owner, session_id)[0],
            session=session_id,
            request=request,
        )

    @rule(
        files=st.lists(paths, max_size=4),
        owner=phase_ids,
        session=which_session,
        request=which_request,
    )
    def claim_files(self, files, owner, session, request) -> None:
        session_id = self.session(session)
        self.write(
            "claim_files",
            files,
            owner,
            session_id,
            ours=lambda now: self.board.claim_files(now, files, owner, session_id),
            session=session_id,
            request=request,
        )

    @rule(owner=phase_ids, files=st.lists(paths, max_size=3), request=which_request)
    def release_claims(self, owner, files, request) -> None:
        self.write(
            "release_claims",
            owner,
            files,
            ours=lambda _: self.board.release_claims(owner, files),
            session="",
            request=request,
        )

    @rule(
        phase=phase_ids,
        state=st.sampled_from([PhaseState.DONE, PhaseState.FAILED]),
        batch=batches,
        session=which_session,
        request=which_request,
    )
    def complete_phase(self, phase, state, batch, session, request) -> None:
        completion = Completion(phase, state, batch, self.session(session))
        self.write(
            "complete_phase",
            completion,
            ours=lambda now: self.board.complete_phase(now, completion),
            session=completion.session_id,
            request=request,
        )

    @rule(back=st.integers(0, 2), request=which_request)
    def archive(self, back, request) -> None:
        revision = max(0, self.board.revision - back)
        self.write(
            "archive_board",
            revision,
            ours=lambda _: self.board.archive(revision),
            session="",
            request=request,
        )

    @rule(ttl=ttls, on_expiry=st.sampled_from(OnExpiry))
    def open_session(self, ttl, on_expiry) -> None:
        key = key_of(f"open {len(self.ever)}")
        opened, revision = self.run(self.store.open_session(NAME, "w", ttl, on_expiry, key=key))
        again = self.run(self.store.open_session(NAME, "w", ttl, on_expiry, key=key))
        assert (undated(again.value), again.revision) == (undated(opened), revision)
        session = Session(opened.session_id, "w", ttl, UNKNOWN, on_expiry)
        ours = self.board.transact(self.now, lambda now: self.board.open_session(now, session))
        assert (undated(opened), revision) == ours
        self.ever.append(opened.session_id)
        self.renewed[opened.session_id] = self.loop.time()

    @rule(number=st.integers(0, 4), request=which_request)
    def close_session(self, number, request) -> None:
        session_id = self.session(number) or "nobody's"
        self.write(
            "close_session",
            session_id,
            ours=lambda now: self.board.end_session(now, session_id, Cause.SESSION_CLOSED),
            session="",
            request=None if request is None else number * 10 + request,
        )
        if session_id not in self.board.sessions:
            self.renewed.pop(session_id, None)

    @rule(number=st.integers(0, 4))
    def renew_session(self, number) -> None:
        session_id = self.session(number) or "nobody's"
        result = outcome(lambda: self.run(self.store.renew_session(NAME, session_id)))
        if session_id in self.board.sessions:
            session, revision = result
            assert undated(session) == self.board.sessions[session_id]
            assert revision == self.board.revision
            self.renewed[session_id] = self.loop.time()
        else:
            assert result[1]["session_id"] == session_id

    @rule(seconds=st.sampled_from([600.0, 1800.0]))
    def time_passes(self, seconds: float) -> None:
        """The sessions that were not renewed in time expire, and no others."""
        self.loop.skip(seconds)
        due = {
            session_id
            for session_id, at in self.renewed.items()
            if at + self.board.sessions[session_id].ttl.total_seconds() < self.loop.time()
        }
        ended = self.run(self._ends(len(due)))
        assert set(ended) == due
        for session_id in ended:
            del self.renewed[session_id]
            self.board.transact(
                self.now,
                lambda now, ended=session_id: self.board.end_session(
                    now, ended, Cause.SESSION_EXPIRED
                ),
            )

    async def _ends(self, count: int) -> list[str]:
        """Wait until this many sessions have ended; return them in that order."""
        result = len(self.follower.commits)
        for _ in range(8):  # due timers run; then the grace period of the sessions passes
            self.loop.skip(0.1)
            await asyncio.sleep(0)
        await self.follower.heard(result + count)
        return [
            commit.events[-1].record.session_id
            for commit in self.follower.commits[result:]
            if commit.events[-1].change is Change.SESSION_ENDED
        ]

    @rule()
    def open_anew(self) -> None:
        """Every session gets its full ttl again."""
        self.run(self.store.close())
        self.open()

    @invariant()
    def the_lists_are_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        read, board = self.store, self.board
        assert self.all_of(lambda page: read.list_phases(NAME, (), page)) == board.listed_phases()
        assert (
            self.all_of(lambda page: read.list_contracts(NAME, ContractFilter(), page))
            == board.listed_contracts()
        )
        assert self.all_of(lambda page: read.list_claims(NAME, None, page)) == board.listed_claims()
        sessions = self.all_of(lambda page: read.list_sessions(NAME, page))
        assert list(map(undated, sessions)) == board.listed_sessions()

    def all_of(self, read: Callable[[PageRequest], Coroutine[Any, Any, Any]]) -> list[Any]:
        """Read a list two at a time."""
        items: list[Any] = []
        page = self.run(read(PageRequest(2)))
        while True:
            assert page.revision == self.board.revision
            items += page.items
            if page.next is None:
                return items
            page = self.run(read(PageRequest(2, page.next)))

    @invariant()
    def the_snapshot_and_the_filters_are_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        snapshot, board = self.run(self.store.get_snapshot(NAME)), self.board
        assert snapshot.revision == board.revision
        assert snapshot.phases == board.listed_phases()
        assert snapshot.contracts == board.listed_contracts()
        assert snapshot.claims == board.listed_claims()
        assert list(map(undated, snapshot.sessions)) == board.listed_sessions()
        running = self.run(self.store.list_phases(NAME, [PhaseState.RUNNING], PageRequest(10)))
        assert running.items == [p for p in snapshot.phases if p.state is PhaseState.RUNNING]
        of_a = self.run(
            self.store.list_contracts(NAME, ContractFilter(producer="a"), PageRequest(20))
        )
        assert of_a.items == [c for c in snapshot.contracts if c.producer == "a"]
        claims = self.run(self.store.list_claims(NAME, "a", PageRequest(20)))
        assert claims.items == [c for c in snapshot.claims if c.owner == "a"]

    @invariant()
    def single_things_are_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        board = self.board
        for phase_id in ("a", "ä", "nobody"):
            phase = self.run(self.store.get_phase_state(NAME, phase_id))
            assert phase == board.phases.get(phase_id)
        for path in ("x.go", "é.go"):
            claim = board.claims.get(path)
            owner = self.run(self.store.get_file_owner(NAME, path))
            assert owner == (claim.owner if claim else "")
        self.what_is_found_is_the_models()

    def what_is_found_is_the_models(self) -> None:
        board = self.board
        done = PhaseCondition("a", frozenset({PhaseState.DONE}))
        named = ContractCondition(None, None, "T", None)
        free = FileCondition("x.go")
        found, revision = self.run(self.store.find(NAME, [done, named, free]))
        phase = board.phases.get("a")
        assert revision == board.revision
        assert found == [
            phase if phase and phase.state is PhaseState.DONE else None,
            next((c for c in board.listed_contracts() if c.name == "T"), None),
            None if "x.go" in board.claims else free,
        ]

    @invariant()
    def the_events_are_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        board = self.board
        events = self.run(self.store.list_events(NAME, 0, board.revision))
        assert events == board.commits
        assert self.follower.commits == board.commits[self.since :]
        some = self.run(self.store.list_events(NAME, board.revision // 2, board.revision))
        assert some == board.commits[board.revision // 2 :]


def outcome(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or the type and attributes of its error."""
    try:
        return call()
    except BoardError as error:
        held = {name: value for name, value in vars(error).items() if name != "conflicts"}
        conflicts = [replace(claim) for claim in getattr(error, "conflicts", ())]
        return type(error), {**held, "text": str(error), "conflicts": conflicts}
