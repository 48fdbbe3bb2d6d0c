"""The calls of the board: from arguments to a request, from the response to a result.

Each function checks the arguments of one method of both clients, and returns the call
that a transport sends. `async_board` documents the arguments; `scope` is the client's.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from board_client import arguments
from board_client.arguments import FilePath, number, optional_text, text
from board_client.errors import InvalidArgument
from board_client.model import (
    Archived,
    BoardInfo,
    Change,
    Completion,
    Condition,
    Contract,
    ContractKind,
    ContractKindLike,
    ContractPublished,
    ContractStatus,
    ContractStatusLike,
    Event,
    EventCause,
    EventKind,
    EventKindLike,
    FileClaim,
    FileFree,
    Met,
    NotMet,
    OnExpiry,
    OnExpiryLike,
    Phase,
    PhaseIn,
    PhaseState,
    PhaseStateLike,
    Record,
    Session,
    Snapshot,
)
from board_client.v1 import board_pb2 as pb

T = TypeVar("T")
U = TypeVar("U")
Part = TypeVar("Part")
Word = TypeVar("Word", bound=StrEnum)


class Scope(NamedTuple):
    """The board of a client's calls, and the session that they belong to ("" for none)."""

    board: str
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to `method` of the service, and how to read its response.

    A call that needs no server has None for its request and its response.
    """

    method: str
    request: Message | None
    result: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A request for the first page of a list, and how to read a page."""

    method: str
    request: Message
    items: Callable[[Any], Iterable[T]]

    def follow(self, response: Any) -> bool:
        """Make the request one for the next page; return False after the last page."""
        paged: Any = self.request
        paged.page_token = response.next_page_token
        return bool(response.next_page_token)


@dataclass(frozen=True, slots=True)
class Stream(Generic[Part, T]):
    """One request whose response comes in parts, and how to read them together."""

    method: str
    request: Message
    result: Callable[[Sequence[Part]], T]


def open_board(scope: Scope) -> Call[BoardInfo]:
    """Make an OpenBoard call."""
    return Call("OpenBoard", pb.OpenBoardRequest(board=scope.board), lambda r: _board_info(r.board))


def list_boards() -> Listing[BoardInfo]:
    """Make a ListBoards call."""
    return Listing("ListBoards", pb.ListBoardsRequest(), lambda r: map(_board_info, r.boards))


def set_phase_state(
    scope: Scope,
    phase_id: str,
    state: PhaseStateLike,
    worker: str | None,
    expected_state: PhaseStateLike | Literal[""] | None,
) -> Call[Phase]:
    """Make a SetPhaseState call."""
    request = pb.SetPhaseStateRequest(
        board=scope.board,
        phase_id=text("phase_id", phase_id),
        state=_STATES.number("state", state),
        worker=optional_text("worker", worker),
        session_id=scope.session_id,
    )
    if expected_state is not None:
        request.expected_state = _STATES.number("expected_state", expected_state)
    return Call("SetPhaseState", request, lambda r: _phase(r.phase))


def get_phase(scope: Scope, phase_id: str) -> Call[Phase | None]:
    """Make a GetPhaseState call whose result is the whole phase."""
    request = pb.GetPhaseStateRequest(board=scope.board, phase_id=text("phase_id", phase_id))
    return Call(
        "GetPhaseState", request, lambda r: _phase(r.phase) if r.HasField("phase") else None
    )


def get_phase_state(scope: Scope, phase_id: str) -> Call[PhaseState]:
    """Make a GetPhaseState call whose result is the state."""
    request = pb.GetPhaseStateRequest(board=scope.board, phase_id=text("phase_id", phase_id))
    return Call("GetPhaseState", request, lambda r: _STATES.word(r.phase.state))


def list_phases(scope: Scope, states: Iterable[PhaseStateLike]) -> Listing[Phase]:
    """Make a ListPhases call."""
    request = pb.ListPhasesRequest(
        board=scope.board, states=[_STATES.number("states", state) for state in states]
    )
    return Listing("ListPhases", request, lambda r: map(_phase, r.phases))


def publish_contract(scope: Scope, contract: Contract) -> Call[Contract]:
    """Make a PublishContract call."""
    request = pb.PublishContractRequest(
        board=scope.board, contract=_to_proto("contract", contract), session_id=scope.session_id
    )
    return Call("PublishContract", request, lambda r: _contract(r.contract))


def publish_contracts(scope: Scope, contracts: Iterable[Contract]) -> Call[int]:
    """Make a PublishContracts call."""
    request = pb.PublishContractsRequest(
        board=scope.board, contracts=_batch(contracts), session_id=scope.session_id
    )
    return Call("PublishContracts", request, lambda r: r.published)


def contracts_for(scope: Scope, phase_id: str) -> Listing[Contract]:
    """Make a ListContracts call for the contracts of one phase."""
    return list_contracts(scope, producer=text("phase_id", phase_id))


def list_contracts(
    scope: Scope,
    *,
    producer: str | None = None,
    kind: ContractKindLike | Literal[""] | None = None,
    name: str | None = None,
    package: str | None = None,
    status: ContractStatusLike | None = None,
    page_size: int = 0,
) -> Listing[Contract]:
    """Make a ListContracts call; a `page_size` of 0 is the server's choice."""
    request = pb.ListContractsRequest(
        board=scope.board,
        producer=optional_text("producer", producer),
        kind=_KINDS.number("kind", kind or ""),
        name=optional_text("name", name),
        package=optional_text("package", package),
        status=_STATUSES.number("status", status or ""),
        page_size=page_size,
    )
    return Listing("ListContracts", request, lambda r: map(_contract, r.contracts))


def claim_file(scope: Scope, filepath: FilePath, owner: str) -> Call[FileClaim]:
    """Make a ClaimFile call."""
    request = pb.ClaimFileRequest(
        board=scope.board,
        filepath=arguments.path("filepath", filepath),
        owner=text("owner", owner),
        session_id=scope.session_id,
    )
    return Call("ClaimFile", request, lambda r: _claim(r.claim))


def claim_files(scope: Scope, filepaths: Iterable[FilePath], owner: str) -> Call[list[FileClaim]]:
    """Make a ClaimFiles call."""
    request = pb.ClaimFilesRequest(
        board=scope.board,
        filepaths=arguments.paths("filepaths", filepaths),
        owner=text("owner", owner),
        session_id=scope.session_id,
    )
    return Call("ClaimFiles", request, lambda r: [_claim(claim) for claim in r.claims])


def release_claims(scope: Scope, owner: str, filepaths: Iterable[FilePath] | None) -> Call[int]:
    """Make a ReleaseClaims call; for an empty list, one that sends nothing.

    A request without paths releases all of the phase's files.
    """
    named = None if filepaths is None else arguments.paths("filepaths", filepaths)
    request = pb.ReleaseClaimsRequest(
        board=scope.board, owner=text("owner", owner), filepaths=named
    )
    if named == []:
        return Call("ReleaseClaims", None, lambda _: 0)
    return Call("ReleaseClaims", request, lambda r: r.released)


def file_owner(scope: Scope, filepath: FilePath) -> Call[str]:
    """Make a GetFileOwner call."""
    request = pb.GetFileOwnerRequest(
        board=scope.board, filepath=arguments.path("filepath", filepath)
    )
    return Call("GetFileOwner", request, lambda r: r.owner)


def claims_for(scope: Scope, phase_id: str) -> Listing[str]:
    """Make a ListClaims call whose result is the paths."""
    request = pb.ListClaimsRequest(board=scope.board, owner=text("phase_id", phase_id))
    return Listing("ListClaims", request, lambda r: (claim.filepath for claim in r.claims))


def list_claims(scope: Scope, owner: str | None) -> Listing[FileClaim]:
    """Make a ListClaims call."""
    request = pb.ListClaimsRequest(board=scope.board, owner=optional_text("owner", owner))
    return Listing("ListClaims", request, lambda r: map(_claim, r.claims))


def complete_phase(
    scope: Scope, phase_id: str, state: PhaseStateLike, contracts: Iterable[Contract]
) -> Call[Completion]:
    """Make a CompletePhase call."""
    request = pb.CompletePhaseRequest(
        board=scope.board,
        phase_id=text("phase_id", phase_id),
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
    """Make a GetSnapshot call."""
    return Stream("GetSnapshot", pb.GetSnapshotRequest(board=scope.board), _snapshot)


def archive_board(scope: Scope, revision: int, board_id: str) -> Call[Archived]:
    """Make an ArchiveBoard call."""
    request = pb.ArchiveBoardRequest(
        board=scope.board,
        revision=number("revision", revision),
        board_id=text("board_id", board_id),
    )
    return Call("ArchiveBoard", request, lambda r: Archived(r.phases, r.contracts, r.claims))


def wait_for(scope: Scope, conditions: Iterable[Condition]) -> Call[Met]:
    """Make a WaitFor call."""
    request = pb.WaitForRequest(
        board=scope.board, conditions=[_condition(condition) for condition in conditions]
    )
    return Call("WaitFor", request, _met)


def not_met(scope: Scope, condition: Condition) -> Call[NotMet | None]:
    """Make a call whose result says why a condition does not hold; None if it does."""

    def result(holds: bool, actual: str = "") -> NotMet | None:
        return None if holds else NotMet(condition, actual)

    match condition:
        case PhaseIn(phase_id, states):
            state = get_phase_state(scope, phase_id)
            return _then(state, lambda actual: result(actual in states, actual))
        case FileFree(filepath):
            return _then(file_owner(scope, filepath), lambda owner: result(not owner, owner))
        case ContractPublished() as wanted:
            fields = {field: getattr(wanted, field) or None for field in asdict(wanted)}
            listing = list_contracts(scope, page_size=1, **fields)
            return Call(listing.method, listing.request, lambda r: result(bool(r.contracts)))


def _then(call: Call[T], read: Callable[[T], U]) -> Call[U]:
    """Return a call whose result is computed from that of another call."""
    return Call(call.method, call.request, lambda response: read(call.result(response)))


def open_session(
    scope: Scope, worker: str, ttl: timedelta | float, on_expiry: OnExpiryLike
) -> Call[Session]:
    """Make an OpenSession call."""
    try:
        span = ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl)
    except (OverflowError, ValueError):  # infinite, or not a number
        raise InvalidArgument.of("ttl", "must be between 1 second and 24 hours") from None
    request = pb.OpenSessionRequest(
        board=scope.board,
        worker=text("worker", worker),
        on_expiry=_ON_EXPIRY.number("on_expiry", on_expiry),
    )
    request.ttl.FromTimedelta(span)
    return Call("OpenSession", request, lambda r: _session(r.session))


def renew_session(scope: Scope, session_id: str) -> Call[Session]:
    """Make a RenewSession call."""
    request = pb.RenewSessionRequest(board=scope.board, session_id=text("session_id", session_id))
    return Call("RenewSession", request, lambda r: _session(r.session))


def close_session(scope: Scope, session_id: str) -> Call[int]:
    """Make a CloseSession call."""
    request = pb.CloseSessionRequest(board=scope.board, session_id=text("session_id", session_id))
    return Call("CloseSession", request, lambda r: r.released)


def list_sessions(scope: Scope) -> Listing[Session]:
    """Make a ListSessions call."""
    request = pb.ListSessionsRequest(board=scope.board)
    return Listing("ListSessions", request, lambda r: map(_session, r.sessions))


def watch_request(
    scope: Scope, after_revision: int | None, kinds: Iterable[EventKindLike], board_id: str
) -> pb.WatchRequest:
    """Make the request of a Watch call; `Follow` decides when to make it."""
    if after_revision is not None:
        number("after_revision", after_revision)
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


class _Enum(Generic[Word]):
    """The members of one enum, and their numbers on the wire."""

    def __init__(self, words: type[Word], numbers: _EnumNumbers, prefix: str) -> None:
        self._words = {numbers.Value(f"{prefix}_{word.name}"): word for word in words}
        self._numbers: dict[str, Any] = {word: number for number, word in self._words.items()}

    def number(self, field: str, word: str) -> Any:
        """Return a member's number. Raises InvalidArgument if the enum has no such member."""
        try:
            return self._numbers[text(field, word)]
        except KeyError:
            known = ", ".join(filter(None, self._numbers))
            raise InvalidArgument.of(field, f'"{word}" is not one of {known}') from None

    def word(self, number: int) -> Word:
        """Return the member of a number, UNSPECIFIED for a number that this client lacks."""
        return self._words.get(number) or self._words[0]


_STATES = _Enum(PhaseState, pb.PhaseState, "PHASE_STATE")
_KINDS = _Enum(ContractKind, pb.ContractKind, "CONTRACT_KIND")
_STATUSES = _Enum(ContractStatus, pb.ContractStatus, "CONTRACT_STATUS")
_ON_EXPIRY = _Enum(OnExpiry, pb.OnExpiry, "ON_EXPIRY")
_EVENT_KINDS = _Enum(EventKind, pb.EventKind, "EVENT_KIND")
_CAUSES = _Enum(EventCause, pb.EventCause, "EVENT_CAUSE")


def _batch(contracts: Iterable[Contract]) -> Iterator[pb.Contract]:
    if not isinstance(contracts, Iterable):
        raise arguments.wrong_type("contracts", "several Contracts", contracts)
    for index, contract in enumerate(contracts):
        yield _to_proto(f"contracts[{index}]", contract)


def _to_proto(field: str, contract: Contract) -> pb.Contract:
    if not isinstance(contract, Contract):
        raise arguments.wrong_type(field, "a Contract", contract)
    return pb.Contract(
        producer=text(f"{field}.producer", contract.producer),
        kind=_KINDS.number(f"{field}.kind", contract.kind),
        name=text(f"{field}.name", contract.name),
        signature=text(f"{field}.signature", contract.signature),
        package=text(f"{field}.package", contract.package),
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
        signature=contract.signature,
        package=contract.package,
        status=_STATUSES.word(contract.status),
        id=contract.id,
        created_at=_time(contract.created_at),
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
            phase = pb.PhaseCondition(phase_id=text("phase_id", phase_id), states=numbers)
            return pb.WaitCondition(phase=phase)
        case ContractPublished(name, kind, producer, package):
            wanted = pb.ContractCondition(
                name=text("name", name),
                kind=_KINDS.number("kind", kind),
                producer=text("producer", producer),
                package=text("package", package),
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
