"""From protobuf to the model, checking every field, and back. Pure.

A function `x_from_proto` reads the request of one RPC and raises
InvalidArgument with every field at fault. Boards come out as they were
named; "" is the default board.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from board_client.v1 import board_pb2 as pb
from board_server import paging
from board_server.fields import MAX_NAME, MAX_PACKAGE, MAX_SIGNATURE, Fields
from board_server.model import (
    BoardInfo,
    Cause,
    Change,
    Commit,
    Completion,
    Condition,
    Contract,
    ContractCondition,
    ContractDraft,
    ContractFilter,
    ContractKind,
    ContractStatus,
    Evidence,
    FileClaim,
    FileCondition,
    OnExpiry,
    PageRequest,
    Phase,
    PhaseChange,
    PhaseCondition,
    PhaseState,
    Record,
    Session,
    Snapshot,
)

Word = TypeVar("Word", bound=StrEnum)

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 10_000

MAX_CONDITIONS = 100

MIN_TTL = timedelta(seconds=1)
MAX_TTL = timedelta(hours=24)

MAX_PART = 900 * 2**10
"""Bytes of a snapshot's part; with its framing it stays under 1 MiB."""


class _EnumNumbers(Protocol):
    def Value(self, name: str) -> int: ...  # noqa: N802  protobuf's name


def _words(enum: type[Word], numbers: _EnumNumbers, prefix: str) -> dict[int, Word]:
    return {numbers.Value(f"{prefix}_{word.name}"): word for word in enum}


def _without_zero(words: Mapping[int, Word]) -> dict[int, Word]:
    return {number: word for number, word in words.items() if number}


_STATES = _words(PhaseState, pb.PhaseState, "PHASE_STATE")
_KINDS = _words(ContractKind, pb.ContractKind, "CONTRACT_KIND")
_STATUSES = _words(ContractStatus, pb.ContractStatus, "CONTRACT_STATUS")

_WRITABLE_STATES = _without_zero(_STATES)
_WRITABLE_KINDS = _without_zero(_KINDS)
_WRITABLE_STATUSES = {**_STATUSES, pb.CONTRACT_STATUS_UNSPECIFIED: ContractStatus.FULFILLED}

_WRITABLE_ON_EXPIRY = {
    pb.ON_EXPIRY_UNSPECIFIED: OnExpiry.FAIL,
    **_words(OnExpiry, pb.OnExpiry, "ON_EXPIRY"),
}
_ENDS = {pb.PHASE_STATE_DONE: PhaseState.DONE, pb.PHASE_STATE_FAILED: PhaseState.FAILED}
_CHANGES: Mapping[int, frozenset[Change]] = {
    pb.EVENT_KIND_PHASE: frozenset({Change.PHASE}),
    pb.EVENT_KIND_CONTRACT: frozenset({Change.CONTRACT}),
    pb.EVENT_KIND_CLAIM: frozenset({Change.CLAIMED, Change.RELEASED}),
    pb.EVENT_KIND_SESSION: frozenset({Change.SESSION_OPENED, Change.SESSION_ENDED}),
}

_ON_EXPIRY_NUMBERS = {
    OnExpiry.FAIL: pb.ON_EXPIRY_FAIL,
    OnExpiry.REQUEUE: pb.ON_EXPIRY_REQUEUE,
}
_CAUSE_NUMBERS = {
    Cause.CALL: pb.EVENT_CAUSE_CALL,
    Cause.SESSION_EXPIRED: pb.EVENT_CAUSE_SESSION_EXPIRED,
    Cause.SESSION_CLOSED: pb.EVENT_CAUSE_SESSION_CLOSED,
    Cause.ARCHIVE: pb.EVENT_CAUSE_ARCHIVE,
}
_STATE_NUMBERS = {word: pb.PhaseState.ValueType(number) for number, word in _STATES.items()}
_KIND_NUMBERS = {word: pb.ContractKind.ValueType(number) for number, word in _KINDS.items()}
_STATUS_NUMBERS = {word: pb.ContractStatus.ValueType(number) for number, word in _STATUSES.items()}


# Requests


def board_from_proto(request: pb.OpenBoardRequest | pb.GetSnapshotRequest) -> str:
    """Read OpenBoard's or GetSnapshot's request."""
    fields = Fields()
    board = fields.board(request.board)
    fields.done()
    return board


def phase_change_from_proto(request: pb.SetPhaseStateRequest) -> tuple[str, PhaseChange]:
    """Read SetPhaseState's request."""
    fields = Fields()
    board = fields.board(request.board)
    change = PhaseChange(
        fields.identifier("phase_id", request.phase_id),
        _state(fields, "state", request.state),
        fields.identifier("worker", request.worker, may_be_empty=True)
        if request.HasField("worker")
        else None,
        _state(fields, "expected_state", request.expected_state)
        if request.HasField("expected_state")
        else None,
        _session_id(fields, request.session_id),
    )
    fields.done()
    return board, change


def phase_id_from_proto(request: pb.GetPhaseStateRequest) -> tuple[str, str]:
    """Read GetPhaseState's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.identifier("phase_id", request.phase_id)
    fields.done()
    return asked


def contract_from_proto(request: pb.PublishContractRequest) -> tuple[str, ContractDraft, str]:
    """Read PublishContract's request: board, contract, session_id."""
    fields = Fields()
    board = fields.board(request.board)
    if not request.HasField("contract"):
        fields.refuse("contract", "must be set")
        fields.done()
    contract = _draft(fields, "contract", request.contract)
    session_id = _session_id(fields, request.session_id)
    fields.done()
    return board, contract, session_id


def contracts_from_proto(
    request: pb.PublishContractsRequest,
) -> tuple[str, list[ContractDraft], str]:
    """Read PublishContracts' request: board, contracts, session_id."""
    fields = Fields()
    board = fields.board(request.board)
    contracts = _drafts(fields, request)
    session_id = _session_id(fields, request.session_id)
    fields.done()
    return board, contracts, session_id


def completion_from_proto(request: pb.CompletePhaseRequest) -> tuple[str, Completion]:
    """Read CompletePhase's request."""
    fields = Fields()
    board = fields.board(request.board)
    phase_id = fields.identifier("phase_id", request.phase_id)
    if request.state not in _ENDS:
        fields.refuse("state", "must be DONE or FAILED")
    contracts = _drafts(fields, request)
    session_id = _session_id(fields, request.session_id)
    fields.done()
    return board, Completion(phase_id, _ENDS[request.state], contracts, session_id)


def claim_from_proto(request: pb.ClaimFileRequest) -> tuple[str, str, str, str]:
    """Read ClaimFile's request: board, filepath, owner, session_id."""
    fields = Fields()
    asked = (
        fields.board(request.board),
        fields.path("filepath", request.filepath),
        fields.identifier("owner", request.owner),
        _session_id(fields, request.session_id),
    )
    fields.done()
    return asked


def claims_from_proto(request: pb.ClaimFilesRequest) -> tuple[str, list[str], str, str]:
    """Read ClaimFiles' request: board, filepaths, owner, session_id."""
    fields = Fields()
    board = fields.board(request.board)
    owner = fields.identifier("owner", request.owner)
    session_id = _session_id(fields, request.session_id)
    filepaths = _filepaths(fields, request)
    fields.done()
    return board, filepaths, owner, session_id


def release_from_proto(request: pb.ReleaseClaimsRequest) -> tuple[str, str, list[str]]:
    """Read ReleaseClaims' request: board, owner, filepaths."""
    fields = Fields()
    board = fields.board(request.board)
    owner = fields.identifier("owner", request.owner)
    filepaths = _filepaths(fields, request)
    fields.done()
    return board, owner, filepaths


def filepath_from_proto(request: pb.GetFileOwnerRequest) -> tuple[str, str]:
    """Read GetFileOwner's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.path("filepath", request.filepath)
    fields.done()
    return asked


class Watched(NamedTuple):
    """What Watch's request asks for; `after` is None for now."""

    board: str
    after: int | None
    kinds: frozenset[Change]
    board_id: str


def watch_from_proto(request: pb.WatchRequest) -> Watched:
    """Read Watch's request."""
    fields = Fields()
    board = fields.board(request.board)
    after = request.after_revision if request.HasField("after_revision") else None
    if after is not None and after < 0:
        fields.refuse("after_revision", "must not be negative")
    board_id = fields.identifier("board_id", request.board_id, may_be_empty=True)
    fields.batch("kinds", len(request.kinds))
    fields.done()
    kinds = [
        fields.word(f"kinds[{index}]", kind, _CHANGES, instead=frozenset[Change]())
        for index, kind in enumerate(request.kinds)
    ]
    fields.done()
    return Watched(board, after, frozenset().union(*kinds) or frozenset(Change), board_id)


def wait_from_proto(request: pb.WaitForRequest) -> tuple[str, list[Condition]]:
    """Read WaitFor's request."""
    fields = Fields()
    board = fields.board(request.board)
    if not 0 < len(request.conditions) <= MAX_CONDITIONS:
        fields.refuse("conditions", f"must be 1 to {MAX_CONDITIONS}")
        fields.done()
    conditions = [
        _condition(fields, f"conditions[{index}]", condition)
        for index, condition in enumerate(request.conditions)
    ]
    fields.done()
    return board, conditions


def open_session_from_proto(
    request: pb.OpenSessionRequest,
) -> tuple[str, str, timedelta, OnExpiry]:
    """Read OpenSession's request: board, worker, ttl, on_expiry."""
    fields = Fields()
    board = fields.board(request.board)
    worker = fields.identifier("worker", request.worker, may_be_empty=True)
    ttl = timedelta(seconds=request.ttl.seconds if 0 <= request.ttl.seconds <= _DAY else 0)
    ttl += timedelta(microseconds=request.ttl.nanos / 1000)
    if not MIN_TTL <= ttl <= MAX_TTL:
        fields.refuse("ttl", "must be between 1 second and 24 hours")
    on_expiry = fields.word(
        "on_expiry", request.on_expiry, _WRITABLE_ON_EXPIRY, instead=OnExpiry.FAIL
    )
    fields.done()
    return board, worker, ttl, on_expiry


def session_id_from_proto(
    request: pb.RenewSessionRequest | pb.CloseSessionRequest,
) -> tuple[str, str]:
    """Read RenewSession's or CloseSession's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.identifier("session_id", request.session_id)
    fields.done()
    return asked


# Lists


class Listed(NamedTuple):
    """What every list's request says: the board, the page, and which list it is."""

    board: str
    page: PageRequest
    scope: bytes

    def token(self, after: paging.Cursor | None) -> str:
        """Make the token of the page that follows."""
        return paging.encode(self.scope, after)


def list_boards_from_proto(request: pb.ListBoardsRequest) -> Listed:
    """Read ListBoards' request."""
    fields = Fields()
    listed = _listed(fields, request, (str,))
    fields.done()
    return listed


def list_phases_from_proto(request: pb.ListPhasesRequest) -> tuple[Listed, list[PhaseState]]:
    """Read ListPhases' request."""
    fields = Fields()
    listed = _listed(fields, request, (str, str))
    fields.batch("states", len(request.states))
    fields.done()
    states = [
        _state(fields, f"states[{index}]", state) for index, state in enumerate(request.states)
    ]
    fields.done()
    return listed, states


def list_sessions_from_proto(request: pb.ListSessionsRequest) -> Listed:
    """Read ListSessions' request."""
    fields = Fields()
    listed = _listed(fields, request, (str,))
    fields.done()
    return listed


def list_contracts_from_proto(request: pb.ListContractsRequest) -> tuple[Listed, ContractFilter]:
    """Read ListContracts' request."""
    fields = Fields()
    listed = _listed(fields, request, (int,))
    producer = name = package = None
    if request.HasField("producer"):
        producer = fields.identifier("producer", request.producer)
    if request.HasField("name"):
        name = fields.text("name", request.name, MAX_NAME)
    if request.HasField("package"):
        package = fields.text("package", request.package, MAX_PACKAGE, may_be_empty=True)
    kind = fields.word("kind", request.kind, _KINDS, instead=ContractKind.UNSPECIFIED)
    status = fields.word("status", request.status, _STATUSES, instead=ContractStatus.UNSPECIFIED)
    fields.done()
    return listed, ContractFilter(producer, kind or None, name, package, status or None)


def list_claims_from_proto(request: pb.ListClaimsRequest) -> tuple[Listed, str | None]:
    """Read ListClaims' request."""
    fields = Fields()
    listed = _listed(fields, request, (str,))
    owner = fields.identifier("owner", request.owner) if request.HasField("owner") else None
    fields.done()
    return listed, owner


# Replies


def board_to_proto(board: BoardInfo) -> pb.BoardInfo:
    """Write a BoardInfo."""
    return pb.BoardInfo(
        name=board.name,
        board_id=board.board_id,
        revision=board.revision,
        created_at=_timestamp(board.created_at),
    )


def phase_to_proto(phase: Phase) -> pb.Phase:
    """Write a Phase."""
    return pb.Phase(
        phase_id=phase.phase_id,
        state=_STATE_NUMBERS[phase.state],
        worker=phase.worker,
        posted_at=_timestamp(phase.posted_at),
        updated_at=_timestamp(phase.updated_at),
        session_id=phase.session_id,
    )


def contract_to_proto(contract: Contract) -> pb.Contract:
    """Write a Contract."""
    return pb.Contract(
        id=contract.id,
        producer=contract.producer,
        kind=_KIND_NUMBERS[contract.kind],
        name=contract.name,
        signature=contract.signature,
        package=contract.package,
        status=_STATUS_NUMBERS[contract.status],
        created_at=_timestamp(contract.created_at),
    )


def claim_to_proto(claim: FileClaim) -> pb.FileClaim:
    """Write a FileClaim."""
    return pb.FileClaim(
        filepath=claim.filepath,
        owner=claim.owner,
        claimed_at=_timestamp(claim.claimed_at),
        session_id=claim.session_id,
    )


def session_to_proto(session: Session) -> pb.Session:
    """Write a Session."""
    return pb.Session(
        session_id=session.session_id,
        worker=session.worker,
        ttl=_duration(session.ttl),
        expires_at=_timestamp(session.expires_at),
        on_expiry=_ON_EXPIRY_NUMBERS[session.on_expiry],
    )


def evidence_to_proto(revision: int, evidence: Collection[Evidence]) -> pb.WaitForResponse:
    """Write what met the conditions of WaitFor."""
    return pb.WaitForResponse(
        revision=revision,
        phases=[phase_to_proto(found) for found in evidence if isinstance(found, Phase)],
        contracts=[contract_to_proto(found) for found in evidence if isinstance(found, Contract)],
    )


def snapshot_to_proto(snapshot: Snapshot) -> Iterator[pb.GetSnapshotResponse]:
    """Write a snapshot in parts; at least one, and each with its revision."""
    part = _part(snapshot)
    size = 0
    records: Sequence[Record] = (
        *snapshot.phases,
        *snapshot.contracts,
        *snapshot.claims,
        *snapshot.sessions,
    )
    for record in records:
        written = _record_to_proto(record)
        weight = written.ByteSize()
        if size and size + weight > MAX_PART:
            yield part
            part, size = _part(snapshot), 0
        size += weight
        match written:
            case pb.Phase():
                part.phases.append(written)
            case pb.Contract():
                part.contracts.append(written)
            case pb.FileClaim():
                part.claims.append(written)
            case pb.Session():
                part.sessions.append(written)
    yield part


def _part(snapshot: Snapshot) -> pb.GetSnapshotResponse:
    return pb.GetSnapshotResponse(revision=snapshot.revision, board_id=snapshot.board_id)


Written = pb.Phase | pb.Contract | pb.FileClaim | pb.Session


def _record_to_proto(record: Record) -> Written:
    match record:
        case Phase():
            return phase_to_proto(record)
        case Contract():
            return contract_to_proto(record)
        case FileClaim():
            return claim_to_proto(record)
        case Session():
            return session_to_proto(record)


def commit_to_bytes(commit: Commit, kinds: Collection[Change]) -> bytes:
    """Write a commit as an encoded WatchResponse, with its events of these kinds."""
    response = pb.WatchResponse(revision=commit.revision)
    time = _timestamp(commit.time)
    for event in commit.events:
        if event.change in kinds:
            written = response.events.add(
                revision=commit.revision, time=time, cause=_CAUSE_NUMBERS[event.cause]
            )
            # A change is called as its field in the message is.
            getattr(written, event.change.value).CopyFrom(_record_to_proto(event.record))
    return response.SerializeToString()


def mark_to_bytes(revision: int, board_id: str = "") -> bytes:
    """Write a bookmark: an encoded WatchResponse without events."""
    return pb.WatchResponse(revision=revision, board_id=board_id).SerializeToString()


# Parts


def _state(fields: Fields, field: str, number: int) -> PhaseState:
    return fields.word(field, number, _WRITABLE_STATES, instead=PhaseState.UNSPECIFIED)


def _session_id(fields: Fields, value: str) -> str:
    return fields.identifier("session_id", value, may_be_empty=True)


def _drafts(
    fields: Fields, request: pb.PublishContractsRequest | pb.CompletePhaseRequest
) -> list[ContractDraft]:
    fields.batch("contracts", len(request.contracts), request.ByteSize())
    fields.done()  # before looking into a batch that is too large
    return [
        _draft(fields, f"contracts[{index}]", contract)
        for index, contract in enumerate(request.contracts)
    ]


def _filepaths(
    fields: Fields, request: pb.ReleaseClaimsRequest | pb.ClaimFilesRequest
) -> list[str]:
    fields.batch("filepaths", len(request.filepaths), request.ByteSize())
    fields.done()  # before looking into a batch that is too large
    return [
        fields.path(f"filepaths[{index}]", filepath)
        for index, filepath in enumerate(request.filepaths)
    ]


def _condition(fields: Fields, field: str, condition: pb.WaitCondition) -> Condition:
    match condition.WhichOneof("condition"):
        case "phase":
            return _phase_condition(fields, f"{field}.phase", condition.phase)
        case "contract":
            return _contract_condition(fields, f"{field}.contract", condition.contract)
        case "file_free":
            path = fields.path(f"{field}.file_free.filepath", condition.file_free.filepath)
            return FileCondition(path)
        case _:
            fields.refuse(field, "must be a phase, a contract or a file")
            return FileCondition("")


def _phase_condition(fields: Fields, field: str, condition: pb.PhaseCondition) -> PhaseCondition:
    if not condition.states:
        fields.refuse(f"{field}.states", "must not be empty")
    fields.batch(f"{field}.states", len(condition.states))
    return PhaseCondition(
        fields.identifier(f"{field}.phase_id", condition.phase_id),
        frozenset(
            _state(fields, f"{field}.states[{index}]", state)
            for index, state in enumerate(condition.states)
        ),
    )


def _contract_condition(
    fields: Fields, field: str, condition: pb.ContractCondition
) -> ContractCondition:
    if not condition.ListFields():
        fields.refuse(field, "must have at least one of producer, kind, name and package")
    producer = fields.identifier(f"{field}.producer", condition.producer, may_be_empty=True)
    kind = fields.word(f"{field}.kind", condition.kind, _KINDS, instead=ContractKind.UNSPECIFIED)
    name = fields.text(f"{field}.name", condition.name, MAX_NAME, may_be_empty=True)
    package = fields.text(f"{field}.package", condition.package, MAX_PACKAGE, may_be_empty=True)
    return ContractCondition(producer or None, kind or None, name or None, package or None)


def _draft(fields: Fields, field: str, contract: pb.Contract) -> ContractDraft:
    return ContractDraft(
        fields.identifier(f"{field}.producer", contract.producer),
        fields.word(
            f"{field}.kind", contract.kind, _WRITABLE_KINDS, instead=ContractKind.UNSPECIFIED
        ),
        fields.text(f"{field}.name", contract.name, MAX_NAME),
        fields.text(f"{field}.signature", contract.signature, MAX_SIGNATURE, may_be_empty=True),
        fields.text(f"{field}.package", contract.package, MAX_PACKAGE, may_be_empty=True),
        fields.word(
            f"{field}.status",
            contract.status,
            _WRITABLE_STATUSES,
            instead=ContractStatus.UNSPECIFIED,
        ),
    )


ListRequest = (
    pb.ListBoardsRequest
    | pb.ListPhasesRequest
    | pb.ListContractsRequest
    | pb.ListClaimsRequest
    | pb.ListSessionsRequest
)


def _listed(fields: Fields, request: ListRequest, shape: tuple[type, ...]) -> Listed:
    """Read the board and the page. `shape` is what the list's cursors are made of."""
    board = fields.board(request.board)
    if request.page_size < 0:
        fields.refuse("page_size", "must not be negative")
    size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    scope = _scope(request)
    try:
        after = paging.decode(scope, request.page_token, shape)
    except ValueError:
        fields.refuse("page_token", "must be the next_page_token of the same list's last page")
        after = None
    return Listed(board, PageRequest(size, after), scope)


def _scope(request: ListRequest) -> bytes:
    """Make what tells one list from another: its kind, its board and its filters."""
    bare = type(request)()
    bare.MergeFrom(request)  # type: ignore[arg-type]  # of the same type, which mypy cannot see
    bare.page_size = 0
    bare.page_token = ""
    return type(request).__name__.encode() + bare.SerializeToString(deterministic=True)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 24 * 60 * 60


def _timestamp(moment: datetime) -> Timestamp:
    seconds, microseconds = divmod((moment - _EPOCH) // _MICROSECOND, 1_000_000)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)


def _duration(span: timedelta) -> Duration:
    seconds, microseconds = divmod(span // _MICROSECOND, 1_000_000)
    return Duration(seconds=seconds, nanos=microseconds * 1000)
