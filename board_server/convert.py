"""From protobuf to the model, checking every field, and back. Pure.

A function `x_from_proto` reads the request of one RPC and raises
InvalidArgument with every field at fault. Boards come out as they were
named; "" is the default board.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from board_client.v1 import board_pb2 as pb
from board_server import paging
from board_server.fields import MAX_NAME, MAX_PACKAGE, MAX_SIGNATURE, Fields
from board_server.model import (
    BoardInfo,
    Contract,
    ContractDraft,
    ContractFilter,
    ContractKind,
    ContractStatus,
    FileClaim,
    PageRequest,
    Phase,
    PhaseChange,
    PhaseState,
)

Word = TypeVar("Word", bound=StrEnum)

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 10_000


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

_STATE_NUMBERS = {word: pb.PhaseState.ValueType(number) for number, word in _STATES.items()}
_KIND_NUMBERS = {word: pb.ContractKind.ValueType(number) for number, word in _KINDS.items()}
_STATUS_NUMBERS = {word: pb.ContractStatus.ValueType(number) for number, word in _STATUSES.items()}


# Requests


def board_from_proto(request: pb.OpenBoardRequest) -> str:
    """Read OpenBoard's request."""
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
    )
    fields.done()
    return board, change


def phase_id_from_proto(request: pb.GetPhaseStateRequest) -> tuple[str, str]:
    """Read GetPhaseState's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.identifier("phase_id", request.phase_id)
    fields.done()
    return asked


def contract_from_proto(request: pb.PublishContractRequest) -> tuple[str, ContractDraft]:
    """Read PublishContract's request."""
    fields = Fields()
    board = fields.board(request.board)
    if not request.HasField("contract"):
        fields.refuse("contract", "must be set")
        fields.done()
    contract = _draft(fields, "contract", request.contract)
    fields.done()
    return board, contract


def contracts_from_proto(request: pb.PublishContractsRequest) -> tuple[str, list[ContractDraft]]:
    """Read PublishContracts' request."""
    fields = Fields()
    board = fields.board(request.board)
    fields.batch("contracts", len(request.contracts), request.ByteSize())
    fields.done()  # before looking into a batch that is too large
    contracts = [
        _draft(fields, f"contracts[{index}]", contract)
        for index, contract in enumerate(request.contracts)
    ]
    fields.done()
    return board, contracts


def claim_from_proto(request: pb.ClaimFileRequest) -> tuple[str, str, str]:
    """Read ClaimFile's request: board, filepath, owner."""
    fields = Fields()
    asked = (
        fields.board(request.board),
        fields.path("filepath", request.filepath),
        fields.identifier("owner", request.owner),
    )
    fields.done()
    return asked


def release_from_proto(request: pb.ReleaseClaimsRequest) -> tuple[str, str, list[str]]:
    """Read ReleaseClaims' request: board, owner, filepaths."""
    fields = Fields()
    board = fields.board(request.board)
    owner = fields.identifier("owner", request.owner)
    fields.batch("filepaths", len(request.filepaths), request.ByteSize())
    fields.done()  # before looking into a batch that is too large
    filepaths = [
        fields.path(f"filepaths[{index}]", filepath)
        for index, filepath in enumerate(request.filepaths)
    ]
    fields.done()
    return board, owner, filepaths


def filepath_from_proto(request: pb.GetFileOwnerRequest) -> tuple[str, str]:
    """Read GetFileOwner's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.path("filepath", request.filepath)
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
        filepath=claim.filepath, owner=claim.owner, claimed_at=_timestamp(claim.claimed_at)
    )


# Parts


def _state(fields: Fields, field: str, number: int) -> PhaseState:
    return fields.word(field, number, _WRITABLE_STATES, instead=PhaseState.UNSPECIFIED)


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
    pb.ListBoardsRequest | pb.ListPhasesRequest | pb.ListContractsRequest | pb.ListClaimsRequest
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


def _timestamp(moment: datetime) -> Timestamp:
    seconds, microseconds = divmod((moment - _EPOCH) // _MICROSECOND, 1_000_000)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)
