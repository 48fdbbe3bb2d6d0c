"""After any calls, applying all events gives the records that the tables have."""

import asyncio
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from board_server.errors import FileAlreadyClaimed, SessionExpired, StateMismatch
from board_server.model import Change, Completion, ContractKind, OnExpiry, PhaseChange, PhaseState
from board_server.sqlite import SqliteStore
from tests.conformance.backend import BOARD, draft
from tests.conformance.events import changes, history, listening
from tests.watch.replay import Replayed

LONG = timedelta(hours=1)
SHORT = timedelta(milliseconds=1)
REFUSALS = (FileAlreadyClaimed, SessionExpired, StateMismatch)

phases = st.sampled_from(["p", "q", "r"])
states = st.sampled_from([state for state in PhaseState if state])
ends = st.sampled_from([PhaseState.DONE, PhaseState.FAILED])
files = st.lists(st.sampled_from(["a.go", "b.go", "c.go", "ä.go"]), max_size=4)
drafts = st.lists(
    st.builds(
        draft,
        st.sampled_from(["T", "U"]),
        phases,
        kind=st.sampled_from([ContractKind.TYPE, ContractKind.METHOD]),
        signature=st.sampled_from(["", "one", "two"]),
        package=st.sampled_from(["x", "y"]),
    ),
    max_size=3,
)
sessions = st.integers(0, 3)
"""Which of the sessions so far a call belongs to; 0 is none."""


class BoardAndItsEvents(RuleBasedStateMachine):
    """All methods of a store in any order, with sessions, and closed and opened again."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = TemporaryDirectory(prefix="boards-")
        self.live = Replayed()

    def do(self, coroutine):
        """Run a call, which may be refused, and apply the commits that its follower received."""
        try:
            return self.runner.run(coroutine)
        except REFUSALS:
            return None
        finally:
            self.live.apply(self.listener.commits)
            self.listener.commits.clear()

    async def open(self):
        self.store = SqliteStore(Path(self.directory.name), synchronous="normal")
        await self.store.open_board(BOARD)
        self.listener = await listening(self.store)

    def session(self, number):
        return (["", *self.sessions])[number % (len(self.sessions) + 1)]

    @initialize()
    def start(self):
        self.sessions = []
        self.runner.run(self.open())

    @rule(phase=phases, state=states, expected=st.none() | states, session=sessions)
    def set_phase_state(self, phase, state, expected, session):
        change = PhaseChange(phase, state, None, expected, self.session(session))
        self.do(self.store.set_phase_state(BOARD, change))

    @rule(drafts=drafts, session=sessions)
    def publish_contracts(self, drafts, session):
        self.do(self.store.publish_contracts(BOARD, drafts, self.session(session)))

    @rule(files=files, phase=phases, session=sessions)
    def claim_files(self, files, phase, session):
        self.do(self.store.claim_files(BOARD, files, phase, self.session(session)))

    @rule(files=files, phase=phases)
    def release_claims(self, files, phase):
        self.do(self.store.release_claims(BOARD, phase, files))

    @rule(phase=phases, end=ends, drafts=drafts, session=sessions)
    def complete_phase(self, phase, end, drafts, session):
        completion = Completion(phase, end, drafts, self.session(session))
        self.do(self.store.complete_phase(BOARD, completion))

    @rule(on_expiry=st.sampled_from(OnExpiry))
    def open_session(self, on_expiry):
        opened = self.do(self.store.open_session(BOARD, "w", LONG, on_expiry))
        self.sessions.append(opened.value.session_id)

    @rule(session=sessions)
    def renew_session(self, session):
        if name := self.session(session):
            self.do(self.store.renew_session(BOARD, name))

    @rule(session=sessions)
    def close_session(self, session):
        if name := self.session(session):
            self.do(self.store.close_session(BOARD, name))

    @rule(on_expiry=st.sampled_from(OnExpiry), phase=phases, files=files)
    def let_a_session_expire(self, on_expiry, phase, files):
        async def work():
            opened = await self.store.open_session(BOARD, "w", SHORT, on_expiry)
            session_id = opened.value.session_id
            await asyncio.gather(
                self.store.set_phase_state(
                    BOARD, PhaseChange(phase, PhaseState.RUNNING, session_id=session_id)
                ),
                self.store.claim_files(BOARD, files, phase, session_id),
                return_exceptions=True,
            )
            await self.listener.until(
                lambda: any(Change.SESSION_ENDED in changes(c) for c in self.listener.commits)
            )

        self.do(work())

    @rule(drafts=drafts, files=files)
    def do_several_things_at_once(self, drafts, files):
        async def work():
            await asyncio.gather(
                *(self.store.claim_files(BOARD, files, phase) for phase in "pqr"),
                *(self.store.publish_contract(BOARD, draft) for draft in drafts),
                *(self.store.release_claims(BOARD, phase, []) for phase in "pqr"),
                return_exceptions=True,
            )

        self.do(work())

    @rule()
    def reopen(self):
        self.runner.run(self.store.close())
        self.runner.run(self.open())

    @invariant()
    def the_events_give_the_records_of_the_tables(self):
        self.live.assert_is(self.runner.run(self.store.get_snapshot(BOARD)))

    def teardown(self):
        if hasattr(self, "store"):
            replayed = Replayed()
            replayed.apply(self.runner.run(history(self.store)))
            replayed.assert_is(self.runner.run(self.store.get_snapshot(BOARD)))
            self.runner.run(self.store.close())
        self.runner.close()
        self.directory.cleanup()


TestReplay = BoardAndItsEvents.TestCase
TestReplay.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
