"""Read the requests of all RPCs except the List calls. All raise InvalidArgument."""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from board_client.v1 import board_pb2 as pb
from board_server.model import (
    Change,
    Completion,
    Condition,
    ContractCondition,
    ContractDraft,
    ContractKind,
    ContractStatus,
    FileCondition,
    OnExpiry,
    PhaseChange,
    PhaseCondition,
    PhaseState,
)
from board_server.wire import enums
from board_server.wire.validation import MAX_NAME, MAX_PACKAGE, MAX_SIGNATURE, Fields

MAX_CONDITIONS = 100
MIN_TTL = timedelta(seconds=1)
MAX_TTL = timedelta(hours=24)
_DAY = 24 * 60 * 60


REQUEST_ID_KEY = "board-request-id"
"""The metadata that has a call's idempotency key."""


def request_id(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Read the idempotency key of a call; "" if it has none.

    Raises InvalidArgument for several: a retry might have only one of them.
    """
    given = [str(value) for key, value in metadata or () if key == REQUEST_ID_KEY]
    if not given:
        return ""
    fields = Fields()
    found = fields.identifier(REQUEST_ID_KEY, given[0], may_be_empty=True)
    if len(given) > 1:
        fields.refuse(REQUEST_ID_KEY, f"must be given once, not {len(given)} times")
    fields.done()
    return found


def board(request: pb.OpenBoardRequest | pb.GetSnapshotRequest) -> str:
    """Read OpenBoard's or GetSnapshot's request."""
    fields = Fields()
    board = fields.board(request.board)
    fields.done()
    return board


def set_phase_state(request: pb.SetPhaseStateRequest) -> tuple[str, PhaseChange]:
    """Read SetPhaseState's request."""
    fields = Fields()
    board = fields.board(request.board)
    change = PhaseChange(
        fields.identifier("phase_id", request.phase_id),
        _state(fields, "state", request.state),
        fields.identifier("worker", request.worker, may_be_empty=True)
        if request.HasField("worker")
        else None,
        fields.word(
            "expected_state", request.expected_state, enums.STATES, instead=PhaseState.UNSPECIFIED
        )
        if request.HasField("expected_state")
        else None,
        _session_id(fields, request.session_id),
    )
    fields.done()
    return board, change


def get_phase_state(request: pb.GetPhaseStateRequest) -> tuple[str, str]:
    """Read GetPhaseState's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.identifier("phase_id", request.phase_id)
    fields.done()
    return asked


def publish_contract(request: pb.PublishContractRequest) -> tuple[str, ContractDraft, str]:
    """Read PublishContract's request: board, contract, session_id."""
    fields = Fields()
    board = fields.board(request.board)
    if not request.HasField("contract"):
        fields.refuse("contract", "must be set")
        fields.done()
    contract = _draft(fields, "contract.", request.contract)
    session_id = _session_id(fields, request.session_id)
    fields.done()
    return board, contract, session_id


def publish_contracts(
    request: pb.PublishContractsRequest,
) -> tuple[str, list[ContractDraft], str]:
    """Read PublishContracts' request: board, contracts, session_id."""
    fields = Fields()
    board = fields.board(request.board)
    contracts = _drafts(fields, request)
    session_id = _session_id(fields, request.session_id)
    fields.done()
    return board, contracts, session_id


def complete_phase(request: pb.CompletePhaseRequest) -> tuple[str, Completion]:
    """Read CompletePhase's request."""
    fields = Fields()
    board = fields.board(request.board)
    phase_id = fields.identifier("phase_id", request.phase_id)
    if request.state not in enums.ENDS:
        fields.refuse("state", "must be DONE or FAILED")
    contracts = _drafts(fields, request)
    session_id = _session_id(fields, request.session_id)
    fields.done()
    return board, Completion(phase_id, enums.ENDS[request.state], contracts, session_id)


def claim_file(request: pb.ClaimFileRequest) -> tuple[str, str, str, str]:
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


def claim_files(request: pb.ClaimFilesRequest) -> tuple[str, list[str], str, str]:
    """Read ClaimFiles' request: board, filepaths, owner, session_id."""
    fields = Fields()
    board = fields.board(request.board)
    owner = fields.identifier("owner", request.owner)
    session_id = _session_id(fields, request.session_id)
    filepaths = _filepaths(fields, request)
    fields.done()
    return board, filepaths, owner, session_id


def release_claims(request: pb.ReleaseClaimsRequest) -> tuple[str, str, list[str]]:
    """Read ReleaseClaims' request: board, owner, filepaths."""
    fields = Fields()
    board = fields.board(request.board)
    owner = fields.identifier("owner", request.owner)
    filepaths = _filepaths(fields, request)
    fields.done()
    return board, owner, filepaths


def get_file_owner(request: pb.GetFileOwnerRequest) -> tuple[str, str]:
    """Read GetFileOwner's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.path("filepath", request.filepath)
    fields.done()
    return asked


class Watched(NamedTuple):
    """Watch's request. `after` is None for a watch that starts now."""

    board: str
    after: int | None
    kinds: frozenset[Change]
    board_id: str


def watch(request: pb.WatchRequest) -> Watched:
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
        fields.word(f"kinds[{index}]", kind, enums.CHANGES, instead=frozenset[Change]())
        for index, kind in enumerate(request.kinds)
    ]
    fields.done()
    return Watched(board, after, frozenset().union(*kinds) or frozenset(Change), board_id)


def wait_for(request: pb.WaitForRequest) -> tuple[str, list[Condition]]:
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


def open_session(
    request: pb.OpenSessionRequest,
) -> tuple[str, str, timedelta, OnExpiry]:
    """Read OpenSession's request: board, worker, ttl, on_expiry."""
    fields = Fields()
    board = fields.board(request.board)
    worker = fields.identifier("worker", request.worker, may_be_empty=True)
    ttl = timedelta(seconds=request.ttl.seconds if 0 <= request.ttl.seconds <= _DAY else 0)
    ttl += timedelta(microseconds=request.ttl.nanos // 1000)
    if not MIN_TTL <= ttl <= MAX_TTL:
        fields.refuse("ttl", "must be between 1 second and 24 hours")
    on_expiry = fields.word(
        "on_expiry", request.on_expiry, enums.WRITABLE_ON_EXPIRY, instead=OnExpiry.FAIL
    )
    fields.done()
    return board, worker, ttl, on_expiry


def session(
    request: pb.RenewSessionRequest | pb.CloseSessionRequest,
) -> tuple[str, str]:
    """Read RenewSession's or CloseSession's request."""
    fields = Fields()
    asked = fields.board(request.board), fields.identifier("session_id", request.session_id)
    fields.done()
    return asked


def archive_board(request: pb.ArchiveBoardRequest) -> tuple[str, int, str]:
    """Read ArchiveBoard's request: board, revision, board_id."""
    fields = Fields()
    board = fields.board(request.board)
    if request.revision < 0:
        fields.refuse("revision", "must not be negative")
    board_id = fields.identifier("board_id", request.board_id, may_be_empty=True)
    fields.done()
    return board, request.revision, board_id


def _state(fields: Fields, field: str, number: int) -> PhaseState:
    return fields.word(field, number, enums.WRITABLE_STATES, instead=PhaseState.UNSPECIFIED)


def _session_id(fields: Fields, value: str) -> str:
    return fields.identifier("session_id", value, may_be_empty=True)


def _drafts(
    fields: Fields, request: pb.PublishContractsRequest | pb.CompletePhaseRequest
) -> list[ContractDraft]:
    fields.batch("contracts", len(request.contracts), request.ByteSize())
    fields.done()  # before reading a batch that is too large
    return [
        _draft(fields, "", contract) for contract in fields.items("contracts", request.contracts)
    ]


def _filepaths(
    fields: Fields, request: pb.ReleaseClaimsRequest | pb.ClaimFilesRequest
) -> list[str]:
    fields.batch("filepaths", len(request.filepaths), request.ByteSize())
    fields.done()  # before reading a batch that is too large
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
    kind = fields.word(
        f"{field}.kind", condition.kind, enums.KINDS, instead=ContractKind.UNSPECIFIED
    )
    name = fields.text(f"{field}.name", condition.name, MAX_NAME, may_be_empty=True)
    package = fields.text(f"{field}.package", condition.package, MAX_PACKAGE, may_be_empty=True)
    return ContractCondition(producer or None, kind or None, name or None, package or None)


def _draft(fields: Fields, prefix: str, contract: pb.Contract) -> ContractDraft:
    return ContractDraft(
        fields.identifier(prefix + "producer", contract.producer),
        fields.word(
            prefix + "kind", contract.kind, enums.WRITABLE_KINDS, instead=ContractKind.UNSPECIFIED
        ),
        fields.text(prefix + "name", contract.name, MAX_NAME),
        fields.text(prefix + "signature", contract.signature, MAX_SIGNATURE, may_be_empty=True),
        fields.text(prefix + "package", contract.package, MAX_PACKAGE, may_be_empty=True),
        fields.word(
            prefix + "status",
            contract.status,
            enums.WRITABLE_STATUSES,
            instead=ContractStatus.UNSPECIFIED,
        ),
    )
