"""The calls of the clients with their answers, and a check of these by the model.

Revisions give the order of the writes, so no search for an order is needed: the model makes each
revision's call, and must produce its events and its answer. Any other call (a refusal, a read, a
write that changed nothing) must be explained by one state. It lies between the latest state known
when the call was made and the latest one possible when it returned. Calls are taken in the order
of their returns, and each takes the earliest state that explains it; that finds an order if there
is one.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from board_client.v1 import board_pb2 as pb
from board_server.errors import BoardError, SessionExpired
from board_server.model import (
    Cause,
    Change,
    Commit,
    Contract,
    ContractCondition,
    Event,
    FileClaim,
    FileCondition,
    Phase,
    Session,
)
from board_server.model import PhaseCondition as OfAPhase
from board_server.wire import enums, requests, responses
from board_server.wire.methods import METHODS
from board_server.wire.statuses import status_of
from tests.model.board import UNKNOWN, Board
from tests.simulation.loop import Defect
from tests.simulation.network import Refused, _error_info

NEVER = 1 << 60

PROMPT = 2.0
"""Seconds within which a waiter must be answered, even by slow threads over a slow network."""

STATELESS = {
    "STORE_UNAVAILABLE",
    "STORE_FULL",
    "SHUTTING_DOWN",
    "LIMIT_EXCEEDED",
    "BOARD_NOT_FOUND",
    "BOARD_REPLACED",
    "WATCH_TOO_SLOW",
}
"""Refusals that do not depend on the board's state. They must have changed nothing.

The board does not remember them. If one is the answer to a call that was sent more than once, an
earlier attempt may still arrive and be done, as docs/guarantees.md says.
"""


class Unexplained(Defect):
    """Answers that no order of the calls explains."""


@dataclass(eq=False)
class Operation:
    """One call of a client, with all its attempts.

    `called` and `returned` are moments (`returned` is NEVER if its outcome is unknown); `sent` is
    when the attempt that was answered was sent. `outcome` is the reply, or Refused.
    """

    method: str
    request: Any
    called: int
    sent: float = 0.0
    returned: int = NEVER
    ended: float = 0.0
    outcome: Any = None
    revision: int = -1
    """The revision of the state that explains the outcome; -1 before one is found."""
    attempts: int = 0

    @property
    def may_yet_be_done(self) -> bool:
        """Whether the call may still change the board: no answer says that it cannot."""
        refused = isinstance(self.outcome, Refused) and self.outcome.reason in STATELESS
        return self.returned == NEVER or (refused and self.attempts > 1)

    def __str__(self) -> str:
        said = " ".join(str(self.request).split())
        outcome = " ".join(str(self.outcome).split()) or "{}"
        return f"{self.method}({said}) -> {outcome} [{self.called}, {self.returned}]"


@dataclass
class Watched:
    """The events that one watcher received, and whether it still watches."""

    events: list[pb.Event] = field(default_factory=list)
    revision: int = 0
    goes_on: bool = True


@dataclass(frozen=True)
class Cancelled:
    """A WaitFor that its caller cancelled, with the times when it was sent and cancelled."""

    request: pb.WaitForRequest
    sent: float
    ended: float


@dataclass
class History:
    """The operations on one board, in the order in which they were called."""

    operations: list[Operation] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    in_vain: list[Cancelled] = field(default_factory=list)


class Checker:
    """Checks a history against the commits that the board has at the end."""

    def __init__(self, history: History, commits: Sequence[Commit]) -> None:
        self._operations = history.operations
        self._commits = commits
        self._in_vain = history.in_vain
        self._seen_by = _seen_by(history.operations, len(commits))
        self.states = [Board()]
        self._makers: list[Operation | None] = []
        self._latest: list[int] = []  # the latest revision known at each return, in their order
        self._returns: list[int] = []

    def check(self) -> None:
        """Raise Unexplained if the history cannot be explained."""
        for commit in self._commits:
            self._make(commit)
        for operation in sorted(self._operations, key=lambda each: each.returned):
            if operation.may_yet_be_done:
                continue
            if operation.revision < 0:
                operation.revision = self._explain(operation)
            elif operation.revision <= self._known(operation):
                raise Unexplained(f"its revision was known before it was called: {operation}")
            self._returns.append(operation.returned)
            self._latest.append(max([operation.revision, *self._latest[-1:]]))

    def check_cancelled(self, time_of: Callable[[Commit], float]) -> None:
        """Raise Unexplained if a cancelled WaitFor should have been answered before that.

        It should if all its conditions were met at one revision while it waited.
        """
        begins = [0.0, *map(time_of, self._commits)]
        ends = [*begins[1:], math.inf]
        for waited in self._in_vain:
            first, last = waited.sent + PROMPT, waited.ended - PROMPT
            for state, begin, end in zip(self.states, begins, ends, strict=True):
                if max(begin, first) < min(end, last) and evidence(state, waited.request):
                    found = f"the conditions of {waited} were met at revision {state.revision}"
                    raise Unexplained(f"a WaitFor was forgotten: {found}")

    def _make(self, commit: Commit) -> None:
        """Find the call that made a revision."""
        for operation in self._candidates(commit):
            state = _copy(self.states[-1])
            open_still = operation is None or operation.may_yet_be_done
            try:
                answer = _do(state, operation, commit) if operation else _expire(state, commit)
            except BoardError:
                continue
            if state.commits == [commit] and (open_still or _is_the_answer(operation, answer)):
                state.commits = []
                self.states.append(state)
                self._makers.append(operation)
                if operation:
                    operation.revision = commit.revision
                return
        raise Unexplained(f"no call explains revision {commit.revision}: {commit.events}")

    def _candidates(self, commit: Commit) -> list[Operation | None]:
        if commit.events[-1].cause is Cause.SESSION_EXPIRED:
            return [None]
        writes = [
            each
            for each in self._operations
            if each.method in WRITES
            and each.revision < 0
            and each.called < self._seen_by[commit.revision]
        ]
        known = [each for each in writes if _revision(each) == commit.revision]
        return [*known, *(each for each in writes if each.may_yet_be_done)]

    def _known(self, operation: Operation) -> int:
        """Return the latest revision that any client knew when the operation was called."""
        place = bisect_left(self._returns, operation.called)
        return self._latest[place - 1] if place else 0

    def _possible(self, operation: Operation) -> int:
        """Return the latest revision that could exist when the operation returned."""
        for revision, maker in enumerate(self._makers, 1):
            if maker and maker.called > operation.returned:
                return revision - 1
        return len(self._makers)

    def _explain(self, operation: Operation) -> int:
        """Return the earliest state that explains an answer."""
        first, last = self._known(operation), self._possible(operation)
        outcome = operation.outcome
        if isinstance(outcome, Refused) and outcome.reason in STATELESS:
            return first
        if at := _revision(operation):
            if not first <= at <= last:
                raise Unexplained(f"not of a revision from {first} to {last}: {operation}")
            first = last = at
        if operation.method == "OpenBoard":
            return first
        for revision in range(first, last + 1):
            state = self.states[revision]
            if operation.method == "RenewSession" and self._was_expiring(operation, revision):
                return first
            if _is_the_answer(operation, _answer(state, operation, revision)):
                return revision
        was = _answer(self.states[first], operation, first)
        raise Unexplained(f"no state from {first} to {last} explains {operation}: not {was}")

    def _was_expiring(self, operation: Operation, revision: int) -> bool:
        """Return whether a renewal was refused because the session is about to end."""
        return (
            isinstance(operation.outcome, Refused)
            and any(
                event.change is Change.SESSION_ENDED
                and event.record.session_id == operation.request.session_id  # type: ignore[union-attr]
                for commit in self._commits[revision:]
                for event in commit.events
            )
        )


def _revision(operation: Operation) -> int:
    """Return the revision in a reply, 0 if it has none."""
    outcome = operation.outcome
    if operation.method == "OpenBoard" and isinstance(outcome, Message):
        outcome = outcome.board
    return getattr(outcome, "revision", 0)


def _mismatched(operation: Operation) -> int:
    """Return the actual revision that a REVISION_MISMATCH reports, 0 if it is none."""
    outcome = operation.outcome
    if isinstance(outcome, Refused) and outcome.reason == "REVISION_MISMATCH":
        return int(outcome.metadata["actual"])
    return 0


def _seen_by(operations: Sequence[Operation], revisions: int) -> list[int]:
    """Return, by revision, the moment by which it had been seen: its call was made before that."""
    moments = [NEVER] * (revisions + 2)
    for operation in operations:
        if 0 < (at := _revision(operation) or _mismatched(operation)) <= revisions:
            moments[at] = min(moments[at], operation.returned)
    for revision in range(revisions, 0, -1):
        moments[revision] = min(moments[revision], moments[revision + 1])
    return moments


def session_ends(commits: Sequence[Commit]) -> dict[str, tuple[datetime, Cause]]:
    """Return when each session ended, and why, by its ID."""
    return {
        event.record.session_id: (commit.time, event.cause)  # type: ignore[union-attr]
        for commit in commits
        for event in commit.events
        if event.change is Change.SESSION_ENDED
    }


def _copy(board: Board) -> Board:
    copy = Board()
    copy.phases, copy.contracts = dict(board.phases), dict(board.contracts)
    copy.claims, copy.sessions = dict(board.claims), dict(board.sessions)
    copy.revision, copy._last_id = board.revision, board._last_id
    return copy


def _expire(board: Board, commit: Commit) -> None:
    session_id = commit.events[-1].record.session_id  # type: ignore[union-attr]
    board.transact(
        commit.time, lambda now: board.end_session(now, session_id, Cause.SESSION_EXPIRED)
    )


def _do(board: Board, operation: Operation, commit: Commit | None) -> Message:
    """Make a write in the model, as the call that made `commit`; None if it made none."""
    session_id, work, reply = _write(board, operation.method, operation.request, commit)
    value, revision = board.transact(commit.time if commit else UNKNOWN, work, session_id)
    return reply(value, revision)


Write = tuple[str, Callable[[datetime], Any], Callable[[Any, int], Message]]


def _write(board: Board, method: str, request: Any, commit: Commit | None) -> Write:
    """Return a write's session, what it does, and the reply to a value and a revision."""
    match method:
        case "SetPhaseState":
            _, change = requests.set_phase_state(request)
            return (
                change.session_id,
                lambda now: board.set_phase_state(now, change),
                lambda v, r: pb.SetPhaseStateResponse(phase=responses.phase(v), revision=r),
            )
        case "PublishContract":
            _, draft, session_id = requests.publish_contract(request)
            return (
                session_id,
                lambda now: board.publish_contract(now, draft),
                lambda v, r: pb.PublishContractResponse(contract=responses.contract(v), revision=r),
            )
        case "PublishContracts":
            _, drafts, session_id = requests.publish_contracts(request)
            return (
                session_id,
                lambda now: board.publish(now, drafts),
                lambda v, r: pb.PublishContractsResponse(published=v, revision=r),
            )
        case "ClaimFile":
            _, path, owner, session_id = requests.claim_file(request)
            return (
                session_id,
                lambda now: board.claim_files(now, [path], owner, session_id),
                lambda v, r: pb.ClaimFileResponse(claim=responses.claim(v[0]), revision=r),
            )
        case "ClaimFiles":
            _, paths, owner, session_id = requests.claim_files(request)
            return (
                session_id,
                lambda now: board.claim_files(now, paths, owner, session_id),
                lambda v, r: pb.ClaimFilesResponse(claims=map(responses.claim, v), revision=r),
            )
        case "ReleaseClaims":
            _, owner, paths = requests.release_claims(request)
            return (
                "",
                lambda _: board.release_claims(owner, paths),
                lambda v, r: pb.ReleaseClaimsResponse(released=v, revision=r),
            )
        case "CompletePhase":
            _, completion = requests.complete_phase(request)
            return (
                completion.session_id,
                lambda now: board.complete_phase(now, completion),
                lambda v, r: pb.CompletePhaseResponse(
                    phase=responses.phase(v.phase),
                    published=v.published,
                    released=v.released,
                    revision=r,
                ),
            )
        case "OpenSession":
            _, worker, ttl, on_expiry = requests.open_session(request)
            opened = Session(_opened(commit), worker, ttl, UNKNOWN, on_expiry)
            return (
                "",
                lambda now: board.open_session(now, opened),
                lambda v, r: pb.OpenSessionResponse(session=responses.session(v), revision=r),
            )
        case "CloseSession":
            _, closed = requests.session(request)
            return (
                "",
                lambda now: board.end_session(now, closed, Cause.SESSION_CLOSED),
                lambda v, r: pb.CloseSessionResponse(released=v, revision=r),
            )
        case "ArchiveBoard":
            revision = requests.archive_board(request)[1]
            return (
                "",
                lambda _: board.archive(revision),
                lambda v, r: pb.ArchiveBoardResponse(
                    phases=v.phases, contracts=v.contracts, claims=v.claims, revision=r
                ),
            )
    raise AssertionError(method)


def _opened(commit: Commit | None) -> str:
    if commit and commit.events[0].change is Change.SESSION_OPENED:
        return commit.events[0].record.session_id  # type: ignore[union-attr]
    return ""


WRITES = {method.name for method in METHODS.values() if method.keyed}


def _answer(board: Board, operation: Operation, revision: int) -> Any:
    """Return the answer to a call at a state that the call does not change; None if it does."""
    request = operation.request
    match operation.method:
        case "GetPhaseState":
            phase = board.phases.get(request.phase_id)
            return pb.GetPhaseStateResponse(phase=responses.phase(phase) if phase else None)
        case "GetFileOwner":
            claim = board.claims.get(request.filepath)
            return pb.GetFileOwnerResponse(owner=claim.owner if claim else "")
        case "ListPhases":
            phases = map(responses.phase, board.listed_phases())
            return pb.ListPhasesResponse(phases=phases, revision=revision)
        case "ListContracts":
            contracts = map(responses.contract, board.listed_contracts())
            return pb.ListContractsResponse(contracts=contracts, revision=revision)
        case "ListClaims":
            claims = map(responses.claim, board.listed_claims())
            return pb.ListClaimsResponse(claims=claims, revision=revision)
        case "ListSessions":
            sessions = map(responses.session, board.listed_sessions())
            return pb.ListSessionsResponse(sessions=sessions, revision=revision)
        case "GetSnapshot":
            return pb.GetSnapshotResponse(
                revision=revision,
                phases=map(responses.phase, board.listed_phases()),
                contracts=map(responses.contract, board.listed_contracts()),
                claims=map(responses.claim, board.listed_claims()),
                sessions=map(responses.session, board.listed_sessions()),
            )
        case "WaitFor":
            met = evidence(board, request)
            return None if met is None else responses.met(revision, met)
        case "RenewSession":
            session = board.sessions.get(request.session_id)
            if session:
                written = responses.session(session)
                return pb.RenewSessionResponse(session=written, revision=revision)
            return _refusal(SessionExpired(request.session_id))
        case _:
            state = _copy(board)
            try:
                reply = _do(state, operation, None)
            except BoardError as error:
                return _refusal(error)
            return None if state.commits else reply


def evidence(board: Board, request: pb.WaitForRequest) -> list[Any] | None:
    """Return what meets the conditions at a state; None if not all are met."""
    found: list[Any] = []
    for condition in requests.wait_for(request)[1]:
        match condition:
            case OfAPhase(phase_id, states):
                phase = board.phases.get(phase_id)
                found.append(phase if phase and phase.state in states else None)
            case ContractCondition():
                found.append(
                    next(
                        (c for c in board.listed_contracts() if c.name == condition.name),
                        None,
                    )
                )
            case FileCondition(filepath):
                found.append(None if filepath in board.claims else condition)
    return None if None in found else found


def _refusal(error: BoardError) -> Refused:
    status = status_of(error)
    reason, metadata = _error_info(status.trailing_metadata[0][1])
    return Refused(status.code, reason, metadata)


def _is_the_answer(operation: Operation, expected: Any) -> bool:
    """Return whether a client got the expected answer. A call without an answer fits any."""
    got = operation.outcome
    if got is None:
        return True
    if isinstance(got, Refused) or isinstance(expected, Refused):
        return (
            isinstance(got, Refused)
            and isinstance(expected, Refused)
            and (got.reason, got.metadata) == (expected.reason, expected.metadata)
        )
    return expected is not None and undated(got) == undated(expected)


def undated(reply: Any) -> Any:
    """Return a reply without its sessions' times of expiry and without the board's ID."""
    copy = type(reply)()
    copy.CopyFrom(reply)
    if hasattr(copy, "board_id"):
        copy.ClearField("board_id")
    for session in [*getattr(copy, "sessions", ()), getattr(copy, "session", None)]:
        if isinstance(session, pb.Session):
            session.ClearField("expires_at")
    if isinstance(copy, pb.OpenSessionResponse | pb.RenewSessionResponse):
        copy.session.ClearField("expires_at")
    return copy


def check_watched(watched: Watched, commits: Sequence[Commit]) -> None:
    """Check that a watcher received every revision once, in order and whole.

    One that still watches must have received all of them.
    """
    expected = [_event(commit, event) for commit in commits for event in commit.events]
    received = watched.events
    for event, right in zip(received, expected, strict=False):
        if event != right:
            raise Unexplained(f"a watcher received\n{event}instead of this event:\n{right}")
    if len(received) > len(expected) or (watched.goes_on and len(received) < len(expected)):
        raise Unexplained(f"a watcher received {len(received)} events, not {len(expected)}")


def _event(commit: Commit, event: Event) -> pb.Event:
    written = pb.Event(revision=commit.revision, cause=enums.CAUSE_NUMBERS[event.cause])
    written.time.FromDatetime(commit.time)
    # The value of a Change is the name of its field in the message.
    getattr(written, event.change.value).CopyFrom(_WRITTEN[type(event.record)](event.record))
    return written


_WRITTEN: dict[type, Callable[[Any], Message]] = {
    Phase: responses.phase,
    Contract: responses.contract,
    FileClaim: responses.claim,
    Session: responses.session,
}
