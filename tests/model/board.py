"""A model of the board in plain Python: its promises, without database, threads or event loop."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from board_server.errors import (
    BoardError,
    FileAlreadyClaimed,
    RevisionMismatch,
    SessionExpired,
    StateMismatch,
)
from board_server.model import (
    Archived,
    Cause,
    Change,
    Commit,
    Completed,
    Contract,
    Event,
    FileClaim,
    OnExpiry,
    Phase,
    PhaseChange,
    PhaseState,
    Revised,
    Session,
)


class Board:
    """One board. Each method takes the time, and returns what the store's method returns.

    The store assigns the IDs of contracts and sessions; `contract_id` and `session_id`
    return them.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.phases: dict[str, Phase] = {}
        self.contracts: dict[tuple[str, str, str], Contract] = {}
        self.claims: dict[str, FileClaim] = {}
        self.sessions: dict[str, Session] = {}
        self.commits: list[Commit] = []
        self.outcomes: dict[str, Revised[Any] | BoardError] = {}
        self._last_id = 0
        self._events: list[Event] = []

    def transact(
        self,
        now: datetime,
        work: Callable[[datetime], Any],
        session_id: str = "",
        key: str = "",
    ) -> Revised[Any]:
        """Do all of the work or nothing, and once for each key, whatever its outcome."""
        outcome = self.outcomes.get(key) or self._attempt(now, work, session_id)
        if key:
            self.outcomes[key] = outcome
        if isinstance(outcome, BoardError):
            raise outcome
        return outcome

    def _attempt(
        self, now: datetime, work: Callable[[datetime], Any], session_id: str
    ) -> Revised[Any] | BoardError:
        before = self._state()
        self._events = []
        try:
            if session_id and session_id not in self.sessions:
                raise SessionExpired(session_id)
            value = work(now)
        except BoardError as error:
            self.phases, self.contracts, self.claims, self.sessions, self._last_id = before
            return error
        if self._events:
            self.revision += 1
            self.commits.append(Commit(self.revision, now, tuple(self._events)))
        return Revised(value, self.revision)

    def set_phase_state(
        self, now: datetime, change: PhaseChange, cause: Cause = Cause.CALL
    ) -> Phase:
        old = self.phases.get(change.phase_id)
        actual = old.state if old else None
        if change.expected_state is not None and actual != (change.expected_state or None):
            raise StateMismatch(
                change.phase_id, change.expected_state, old.state.value if old else ""
            )
        worker = change.worker if change.worker is not None else old.worker if old else ""
        bound = change.session_id if change.state is PhaseState.RUNNING else ""
        phase = Phase(
            change.phase_id,
            change.state,
            worker,
            old.posted_at if old else now,
            max(old.updated_at, now) if old else now,
            bound,
        )
        self.phases[change.phase_id] = phase
        self._record(Change.PHASE, phase, cause)
        return phase

    def publish(self, now: datetime, drafts) -> int:
        distinct = {draft.key: draft for draft in drafts}
        for draft in distinct.values():
            self.publish_contract(now, draft)
        return len(distinct)

    def publish_contract(self, now: datetime, draft) -> Contract:
        old = self.contracts.get(draft.key)
        if old is None:
            self._last_id += 1
        contract = Contract(
            old.id if old else self._last_id,
            draft.producer,
            draft.kind,
            draft.name,
            draft.signature,
            draft.package,
            draft.status,
            old.created_at if old else now,
        )
        if contract != old:
            self.contracts[draft.key] = contract
            self._record(Change.CONTRACT, contract)
        return contract

    def claim_files(self, now: datetime, filepaths, owner: str, session_id: str) -> list[FileClaim]:
        conflicts = {
            path: self.claims[path]
            for path in filepaths
            if path in self.claims and self.claims[path].owner != owner
        }
        if conflicts:
            raise FileAlreadyClaimed(list(conflicts.values()))
        for path in dict.fromkeys(filepaths):
            old = self.claims.get(path)
            claim = old or FileClaim(path, owner, now)
            if session_id:
                claim = replace(claim, session_id=session_id)
            if claim != old:
                self.claims[path] = claim
                self._record(Change.CLAIMED, claim)
        return [self.claims[path] for path in filepaths]

    def release_claims(self, owner: str, filepaths) -> int:
        return self._release(
            [
                claim
                for claim in self.claims.values()
                if claim.owner == owner and (not filepaths or claim.filepath in filepaths)
            ],
            Cause.CALL,
        )

    def complete_phase(self, now: datetime, completion) -> Completed:
        published = self.publish(now, completion.contracts)
        phase = self.set_phase_state(now, PhaseChange(completion.phase_id, completion.state))
        return Completed(phase, published, self.release_claims(completion.phase_id, ()))

    def open_session(self, now: datetime, opened: Session) -> Session:
        self.sessions[opened.session_id] = opened
        self._record(Change.SESSION_OPENED, replace(opened, expires_at=now + opened.ttl))
        return opened

    def end_session(self, now: datetime, session_id: str, cause: Cause) -> int:
        if session_id not in self.sessions:
            raise SessionExpired(session_id)
        session = self.sessions[session_id]
        bound = [claim for claim in self.claims.values() if claim.session_id == session_id]
        released = self._release(bound, cause)
        requeue = session.on_expiry is OnExpiry.REQUEUE
        for phase_id in sorted(self.phases):
            if self.phases[phase_id].session_id == session_id:
                state = PhaseState.QUEUED if requeue else PhaseState.FAILED
                change = PhaseChange(phase_id, state, "" if requeue else None)
                self.set_phase_state(now, change, cause)
        del self.sessions[session_id]
        self._record(Change.SESSION_ENDED, replace(session, expires_at=now), cause)
        return released

    def archive(self, revision: int) -> Archived:
        if revision != self.revision:
            raise RevisionMismatch(revision, self.revision)
        for phase in self.listed_phases():
            self._record(Change.PHASE_REMOVED, phase, Cause.ARCHIVE)
        contracts = self.listed_contracts()
        for contract in contracts:
            self._record(Change.CONTRACT_REMOVED, replace(contract, signature=""), Cause.ARCHIVE)
        phases, self.phases, self.contracts = len(self.phases), {}, {}
        released = self._release(list(self.claims.values()), Cause.ARCHIVE)
        return Archived(phases, len(contracts), released)

    def listed_phases(self) -> list[Phase]:
        return sorted(self.phases.values(), key=lambda p: (p.posted_at, p.phase_id.encode()))

    def listed_contracts(self) -> list[Contract]:
        return sorted(self.contracts.values(), key=lambda contract: contract.id)

    def listed_claims(self) -> list[FileClaim]:
        return sorted(self.claims.values(), key=lambda claim: claim.filepath.encode())

    def listed_sessions(self) -> list[Session]:
        return sorted(self.sessions.values(), key=lambda session: session.session_id)

    def _release(self, claims: list[FileClaim], cause: Cause) -> int:
        for claim in sorted(claims, key=lambda claim: claim.filepath.encode()):
            del self.claims[claim.filepath]
            self._record(Change.RELEASED, claim, cause)
        return len(claims)

    def _record(self, change: Change, record: Any, cause: Cause = Cause.CALL) -> None:
        self._events.append(Event(change, cause, record))

    def _state(self) -> tuple[Any, ...]:
        tables = (self.phases, self.contracts, self.claims, self.sessions)
        return (*map(dict, tables), self._last_id)


UNKNOWN = datetime(1, 1, 1, tzinfo=UTC)


def undated(session: Session) -> Session:
    """A session without the time of its expiry, which the loop's clock decides."""
    return replace(session, expires_at=UNKNOWN)
