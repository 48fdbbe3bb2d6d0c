"""The calls of the board: from arguments to a request, from the response to a result.

Each function says what one method of both clients does; `sync` and `aio` only
carry what it returns. `scope`, the first argument, is the client's own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from board_client import arguments
from board_client.arguments import FilePath
from board_client.errors import InvalidArgument
from board_client.model import (
    Archived,
    BoardInfo,
    Change,
    Completion,
    Condition,
    Contract,
    ContractKind,
    ContractPublished,
    ContractStatus,
    Event,
    EventCause,
    EventKind,
    FileClaim,
    FileFree,
    Met,
    OnExpiry,
    Phase,
    PhaseIn,
    PhaseState,
    Record,
    Session,
    Snapshot,
)
from board_client.v1 import board_pb2 as pb

T = TypeVar("T")
Part = TypeVar("Part")
Word = TypeVar("Word", bound=StrEnum)


class Scope(NamedTuple):
    """What a client's calls have in common: the board, and the session they belong to."""

    board: str
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to `method` of the service, and what its response means.

    Where there is nothing to ask, `request` is None, and so is the response.
    """

    method: str
    request: Message | None
    result: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A request for the first page of a list, and what each page holds."""

    method: str
    request: Message
    items: Callable[[Any], Iterable[T]]

    def follow(self, response: Any) -> bool:
        """Make the request ask for the page after this response; False at the end."""
        paged: Any = self.request
        paged.page_token = response.next_page_token
        return bool(response.next_page_token)


@dataclass(frozen=True, slots=True)
class Stream(Generic[Part, T]):
    """One request whose response comes in parts, and what they mean together."""

    method: str
    request: Message
    result: Callable[[Sequence[Part]], T]


def open_board(scope: Scope) -> Call[BoardInfo]:
    """Create the board if it is absent, and tell about it. Idempotent."""
    return Call("OpenBoard", pb.OpenBoardRequest(board=scope.board), lambda r: _board_info(r.board))


def list_boards(scope: Scope) -> Listing[BoardInfo]:  # noqa: ARG001  all boards, whichever is ours
    """Tell about every board of the server, in the byte order of their names."""
    return Listing("ListBoards", pb.ListBoardsRequest(), lambda r: map(_board_info, r.boards))


def set_phase_state(
    scope: Scope,
    phase_id: str,
    state: PhaseState | str,
    *,
    worker: str | None = None,
    expected_state: PhaseState | str | None = None,
) -> Call[Phase]:
    """Create or update a phase, and return it as it now is.

    Without `worker` the phase keeps the one it has. With `expected_state` the
    call raises StateMismatch unless the phase is in that state; with one of "",
    unless there is no such phase.
    """
    request = pb.SetPhaseStateRequest(
        board=scope.board,
        phase_id=phase_id,
        state=_STATES.number("state", state),
        worker=worker,
        session_id=scope.session_id,
    )
    if expected_state is not None:
        request.expected_state = _STATES.number("expected_state", expected_state)
    return Call("SetPhaseState", request, lambda r: _phase(r.phase))


def get_phase_state(scope: Scope, phase_id: str) -> Call[str]:
    """Return the state of a phase, "" when there is no such phase."""
    request = pb.GetPhaseStateRequest(board=scope.board, phase_id=phase_id)
    return Call("GetPhaseState", request, lambda r: _STATES.word(r.phase.state))


def get_phase(scope: Scope, phase_id: str) -> Call[Phase | None]:
    """Return a phase with its worker and times, None when there is no such phase."""
    request = pb.GetPhaseStateRequest(board=scope.board, phase_id=phase_id)
    return Call(
        "GetPhaseState", request, lambda r: _phase(r.phase) if r.HasField("phase") else None
    )


def list_phases(scope: Scope, *states: PhaseState | str) -> Listing[Phase]:
    """Return the phases that are in one of the states, or all, in the order they were posted."""
    request = pb.ListPhasesRequest(
        board=scope.board, states=[_STATES.number("states", state) for state in states]
    )
    return Listing("ListPhases", request, lambda r: map(_phase, r.phases))


def publish_contract(scope: Scope, contract: Contract) -> Call[Contract]:
    """Create or replace the contract of this producer, kind and name; return it as it now is."""
    request = pb.PublishContractRequest(
        board=scope.board, contract=_to_proto("contract", contract), session_id=scope.session_id
    )
    return Call("PublishContract", request, lambda r: _contract(r.contract))


def publish_contracts(scope: Scope, contracts: Iterable[Contract]) -> Call[int]:
    """Publish a batch in one transaction; return how many distinct contracts it held."""
    request = pb.PublishContractsRequest(
        board=scope.board, contracts=_batch(contracts), session_id=scope.session_id
    )
    return Call("PublishContracts", request, lambda r: r.published)


def contracts_for(scope: Scope, phase_id: str) -> Listing[Contract]:
    """Return the contracts that the phase has published, in the order of their ids."""
    return list_contracts(scope, producer=phase_id)


def all_contracts(scope: Scope) -> Listing[Contract]:
    """Return every contract, in the order of their ids."""
    return list_contracts(scope)


def list_contracts(
    scope: Scope,
    *,
    producer: str | None = None,
    kind: ContractKind | str | None = None,
    name: str | None = None,
    package: str | None = None,
    status: ContractStatus | str | None = None,
) -> Listing[Contract]:
    """Return the contracts that equal every filter given, in the order of their ids."""
    request = pb.ListContractsRequest(
        board=scope.board,
        producer=producer,
        kind=_KINDS.number("kind", kind or ""),
        name=name,
        package=package,
        status=_STATUSES.number("status", status or ""),
    )
    return Listing("ListContracts", request, lambda r: map(_contract, r.contracts))


def claim_file(scope: Scope, filepath: FilePath, owner: str) -> Call[FileClaim]:
    """Claim a file for a phase. Raises FileAlreadyClaimed when another phase has it."""
    request = pb.ClaimFileRequest(
        board=scope.board,
        filepath=arguments.path("filepath", filepath),
        owner=owner,
        session_id=scope.session_id,
    )
    return Call("ClaimFile", request, lambda r: _claim(r.claim))


def claim_files(scope: Scope, filepaths: Iterable[FilePath], owner: str) -> Call[list[FileClaim]]:
    """Claim files for a phase, all or none. FileAlreadyClaimed has every conflict."""
    request = pb.ClaimFilesRequest(
        board=scope.board,
        filepaths=arguments.paths("filepaths", filepaths),
        owner=owner,
        session_id=scope.session_id,
    )
    return Call("ClaimFiles", request, lambda r: [_claim(claim) for claim in r.claims])


def release_claims(
    scope: Scope, owner: str, filepaths: Iterable[FilePath] | None = None
) -> Call[int]:
    """Release those of the files that the phase holds; without `filepaths` all that it holds.

    Returns how many became free.
    """
    named = None if filepaths is None else arguments.paths("filepaths", filepaths)
    if named == []:
        return Call("ReleaseClaims", None, lambda _: 0)  # the request would mean all of them
    request = pb.ReleaseClaimsRequest(board=scope.board, owner=owner, filepaths=named)
    return Call("ReleaseClaims", request, lambda r: r.released)


def file_owner(scope: Scope, filepath: FilePath) -> Call[str]:
    """Return the phase that has claimed the file, "" when none has."""
    request = pb.GetFileOwnerRequest(
        board=scope.board, filepath=arguments.path("filepath", filepath)
    )
    return Call("GetFileOwner", request, lambda r: r.owner)


def claims_for(scope: Scope, phase_id: str) -> Listing[str]:
    """Return the paths that the phase has claimed, in byte order."""
    request = pb.ListClaimsRequest(board=scope.board, owner=phase_id)
    return Listing("ListClaims", request, lambda r: (claim.filepath for claim in r.claims))


def list_claims(scope: Scope, owner: str | None = None) -> Listing[FileClaim]:
    """Return the claims of one phase, or of all, in the byte order of their paths."""
    request = pb.ListClaimsRequest(board=scope.board, owner=owner)
    return Listing("ListClaims", request, lambda r: map(_claim, r.claims))


def complete_phase(
    scope: Scope,
    phase_id: str,
    state: PhaseState | str = PhaseState.DONE,
    contracts: Iterable[Contract] = (),
) -> Call[Completion]:
    """End a phase as done or failed: publish, set the state, release its claims, all or nothing."""
    request = pb.CompletePhaseRequest(
        board=scope.board,
        phase_id=phase_id,
        state=_STATES.number("state", state),
        contracts=_batch(contracts),
        session_id=scope.session_id,
    )
    return Call(
        "CompletePhase",
        request,
        lambda r: Completion(_phase(r.phase), r.published, r.released),
    )


def get_snapshot(scope: Scope) -> Stream[pb.GetSnapshotResponse, Snapshot]:
    """Return the whole board at one revision."""
    return Stream("GetSnapshot", pb.GetSnapshotRequest(board=scope.board), _snapshot)


def archive_board(scope: Scope, revision: int, board_id: str = "") -> Call[Archived]:
    """Remove all phases, contracts and claims of a board whose snapshot you have stored.

    `revision` and `board_id` are the snapshot's. Raises RevisionMismatch when the
    board has changed since, and BoardReplaced when it is another; without a
    `board_id` that is not checked.
    """
    request = pb.ArchiveBoardRequest(board=scope.board, revision=revision, board_id=board_id)
    return Call("ArchiveBoard", request, lambda r: Archived(r.phases, r.contracts, r.claims))


def wait_for(scope: Scope, *conditions: Condition) -> Call[Met]:
    """Return as soon as all the conditions hold at one revision."""
    request = pb.WaitForRequest(
        board=scope.board, conditions=[_condition(condition) for condition in conditions]
    )
    return Call("WaitFor", request, _met)


def open_session(
    scope: Scope,
    worker: str,
    ttl: timedelta | float = 30.0,
    on_expiry: OnExpiry | str = OnExpiry.FAIL,
) -> Call[Session]:
    """Open a session that you renew yourself; `client.session` does that for you.

    `ttl` is a timedelta, or seconds: 1 s to 24 h.
    """
    try:
        span = ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl)
    except (OverflowError, ValueError):  # infinite, or no number
        raise InvalidArgument.of("ttl", "must be between 1 second and 24 hours") from None
    request = pb.OpenSessionRequest(
        board=scope.board, worker=worker, on_expiry=_ON_EXPIRY.number("on_expiry", on_expiry)
    )
    request.ttl.FromTimedelta(span)
    return Call("OpenSession", request, lambda r: _session(r.session))


def renew_session(scope: Scope, session_id: str) -> Call[Session]:
    """Give a session its full ttl again. Raises SessionExpired when it has ended."""
    request = pb.RenewSessionRequest(board=scope.board, session_id=session_id)
    return Call("RenewSession", request, lambda r: _session(r.session))


def close_session(scope: Scope, session_id: str) -> Call[int]:
    """End a session and what is bound to it; return how many claims that released."""
    request = pb.CloseSessionRequest(board=scope.board, session_id=session_id)
    return Call("CloseSession", request, lambda r: r.released)


def list_sessions(scope: Scope) -> Listing[Session]:
    """Return the sessions that live, in the order of their IDs."""
    request = pb.ListSessionsRequest(board=scope.board)
    return Listing("ListSessions", request, lambda r: map(_session, r.sessions))


def watch_request(
    scope: Scope, after_revision: int | None, kinds: Iterable[EventKind | str], board_id: str
) -> pb.WatchRequest:
    """Make Watch's request; `watch` knows when to make which."""
    if after_revision is not None:
        arguments.number("after_revision", after_revision)
    return pb.WatchRequest(
        board=scope.board,
        after_revision=after_revision,
        kinds=[_EVENT_KINDS.number("kinds", kind) for kind in kinds],
        board_id=board_id,
    )


def event(message: pb.Event) -> Event:
    """Read an event."""
    field = message.WhichOneof("change")
    record = _RECORDS[field](getattr(message, field)) if field else None
    return Event(
        message.revision,
        _time(message.time),
        _CAUSES.word(message.cause),
        Change(field or ""),
        record,
    )


class _EnumNumbers(Protocol):
    def Value(self, name: str) -> int: ...  # noqa: N802  protobuf's name


class _Words(Generic[Word]):
    """The words of one enum, and the numbers that stand for them on the wire."""

    def __init__(self, words: type[Word], numbers: _EnumNumbers, prefix: str) -> None:
        self._words = {numbers.Value(f"{prefix}_{word.name}"): word for word in words}
        self._numbers: dict[str, Any] = {word: number for number, word in self._words.items()}

    def number(self, field: str, word: str) -> Any:
        """Raise InvalidArgument for a word that the enum does not have."""
        try:
            return self._numbers[arguments.text(field, word)]
        except KeyError:
            known = ", ".join(filter(None, self._numbers))
            raise InvalidArgument.of(field, f'"{word}" is not one of {known}') from None

    def word(self, number: int) -> Word:
        """Return the empty word for a number that this client does not know."""
        return self._words.get(number) or self._words[0]


_STATES = _Words(PhaseState, pb.PhaseState, "PHASE_STATE")
_KINDS = _Words(ContractKind, pb.ContractKind, "CONTRACT_KIND")
_STATUSES = _Words(ContractStatus, pb.ContractStatus, "CONTRACT_STATUS")
_ON_EXPIRY = _Words(OnExpiry, pb.OnExpiry, "ON_EXPIRY")
_EVENT_KINDS = _Words(EventKind, pb.EventKind, "EVENT_KIND")
_CAUSES = _Words(EventCause, pb.EventCause, "EVENT_CAUSE")


def _batch(contracts: Iterable[Contract]) -> Iterator[pb.Contract]:
    if not isinstance(contracts, Iterable):
        raise arguments.wrong_type("contracts", "several Contracts", contracts)
    for index, contract in enumerate(contracts):
        yield _to_proto(f"contracts[{index}]", contract)


def _to_proto(field: str, contract: Contract) -> pb.Contract:
    if not isinstance(contract, Contract):
        raise arguments.wrong_type(field, "a Contract", contract)
    return pb.Contract(
        producer=arguments.text(f"{field}.producer", contract.producer),
        kind=_KINDS.number(f"{field}.kind", contract.kind),
        name=arguments.text(f"{field}.name", contract.name),
        signature=arguments.text(f"{field}.signature", contract.signature),
        package=arguments.text(f"{field}.package", contract.package),
        status=_STATUSES.number(f"{field}.status", contract.status),
    )


def _board_info(board: pb.BoardInfo) -> BoardInfo:
    return BoardInfo(board.name, board.board_id, board.revision, _time(board.created_at))


def _phase(phase: pb.Phase) -> Phase:
    return Phase(
        phase.phase_id,
        _STATES.word(phase.state),
        phase.worker,
        _time(phase.posted_at),
        _time(phase.updated_at),
        phase.session_id,
    )


def _contract(contract: pb.Contract) -> Contract:
    return Contract(
        contract.producer,
        _KINDS.word(contract.kind),
        contract.name,
        contract.signature,
        contract.package,
        _STATUSES.word(contract.status),
        contract.id,
        _time(contract.created_at),
    )


def _claim(claim: pb.FileClaim) -> FileClaim:
    return FileClaim(claim.filepath, claim.owner, _time(claim.claimed_at), claim.session_id)


def _session(session: pb.Session) -> Session:
    return Session(
        session.session_id,
        session.worker,
        session.ttl.ToTimedelta(),
        _time(session.expires_at),
        _ON_EXPIRY.word(session.on_expiry),
    )


_RECORDS: dict[str, Callable[[Any], Record]] = {
    "phase": _phase,
    "contract": _contract,
    "claimed": _claim,
    "released": _claim,
    "session_opened": _session,
    "session_ended": _session,
    "phase_removed": _phase,
    "contract_removed": _contract,
}


def _snapshot(parts: Sequence[pb.GetSnapshotResponse]) -> Snapshot:
    return Snapshot(
        parts[0].revision,
        parts[0].board_id,
        [_phase(phase) for part in parts for phase in part.phases],
        [_contract(contract) for part in parts for contract in part.contracts],
        [_claim(claim) for part in parts for claim in part.claims],
        [_session(session) for part in parts for session in part.sessions],
    )


def _condition(condition: Condition) -> pb.WaitCondition:
    match condition:
        case PhaseIn(phase_id, states):
            numbers = [_STATES.number("states", state) for state in states]
            phase = pb.PhaseCondition(phase_id=arguments.text("phase_id", phase_id), states=numbers)
            return pb.WaitCondition(phase=phase)
        case ContractPublished(name, kind, producer, package):
            wanted = pb.ContractCondition(
                name=arguments.text("name", name),
                kind=_KINDS.number("kind", kind),
                producer=arguments.text("producer", producer),
                package=arguments.text("package", package),
            )
            return pb.WaitCondition(contract=wanted)
        case FileFree(filepath):
            file = pb.FileCondition(filepath=arguments.path("filepath", filepath))
            return pb.WaitCondition(file_free=file)
        case _:
            raise arguments.wrong_type(
                "conditions", "PhaseIn, ContractPublished, FileFree", condition
            )


def _met(response: pb.WaitForResponse) -> Met:
    return Met(
        response.revision,
        [_phase(phase) for phase in response.phases],
        [_contract(contract) for contract in response.contracts],
    )


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
