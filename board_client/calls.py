"""The calls of the board: from arguments to a request, from the response to a result.

Each function says what one method of both clients does; `sync` and `aio` only
carry what it returns. `board`, the first argument, is the client's own board.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from board_client.errors import InvalidArgument
from board_client.model import (
    BoardInfo,
    Contract,
    ContractKind,
    ContractStatus,
    FileClaim,
    Phase,
    PhaseState,
)
from board_client.v1 import board_pb2 as pb

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request to `method` of the service, and what its response means."""

    method: str
    request: Message
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


def open_board(board: str) -> Call[BoardInfo]:
    """Create the board if it is absent, and tell about it. Idempotent."""
    return Call("OpenBoard", pb.OpenBoardRequest(board=board), lambda r: _board_info(r.board))


def list_boards(board: str) -> Listing[BoardInfo]:  # noqa: ARG001  all boards, whichever is ours
    """Tell about every board of the server, in the byte order of their names."""
    return Listing("ListBoards", pb.ListBoardsRequest(), lambda r: map(_board_info, r.boards))


def set_phase_state(
    board: str,
    phase_id: str,
    state: PhaseState | str,
    *,
    worker: str | None = None,
    expected_state: PhaseState | str | None = None,
) -> Call[Phase]:
    """Create or update a phase, and return it as it now is.

    Without `worker` the phase keeps the one it has. With `expected_state` the
    call raises StateMismatch unless the phase is in that state.
    """
    request = pb.SetPhaseStateRequest(
        board=board, phase_id=phase_id, state=_STATES.number("state", state), worker=worker
    )
    if expected_state is not None:
        request.expected_state = _STATES.number("expected_state", expected_state)
    return Call("SetPhaseState", request, lambda r: _phase(r.phase))


def get_phase_state(board: str, phase_id: str) -> Call[str]:
    """Return the state of a phase, "" when there is no such phase."""
    request = pb.GetPhaseStateRequest(board=board, phase_id=phase_id)
    return Call("GetPhaseState", request, lambda r: _STATES.word(r.phase.state))


def get_phase(board: str, phase_id: str) -> Call[Phase | None]:
    """Return a phase with its worker and times, None when there is no such phase."""
    request = pb.GetPhaseStateRequest(board=board, phase_id=phase_id)
    return Call(
        "GetPhaseState", request, lambda r: _phase(r.phase) if r.HasField("phase") else None
    )


def list_phases(board: str, *states: PhaseState | str) -> Listing[Phase]:
    """Return the phases that are in one of the states, or all, in the order they were posted."""
    request = pb.ListPhasesRequest(
        board=board, states=[_STATES.number("states", state) for state in states]
    )
    return Listing("ListPhases", request, lambda r: map(_phase, r.phases))


def publish_contract(board: str, contract: Contract) -> Call[Contract]:
    """Create or replace the contract of this producer, kind and name; return it as it now is."""
    request = pb.PublishContractRequest(board=board, contract=_to_proto(contract))
    return Call("PublishContract", request, lambda r: _contract(r.contract))


def publish_contracts(board: str, contracts: Iterable[Contract]) -> Call[int]:
    """Publish a batch in one transaction; return how many distinct contracts it held."""
    request = pb.PublishContractsRequest(board=board, contracts=map(_to_proto, contracts))
    return Call("PublishContracts", request, lambda r: r.published)


def contracts_for(board: str, phase_id: str) -> Listing[Contract]:
    """Return the contracts that the phase has published, in the order of their ids."""
    return list_contracts(board, producer=phase_id)


def all_contracts(board: str) -> Listing[Contract]:
    """Return every contract, in the order of their ids."""
    return list_contracts(board)


def list_contracts(
    board: str,
    *,
    producer: str | None = None,
    kind: ContractKind | str | None = None,
    name: str | None = None,
    package: str | None = None,
    status: ContractStatus | str | None = None,
) -> Listing[Contract]:
    """Return the contracts that equal every filter given, in the order of their ids."""
    request = pb.ListContractsRequest(
        board=board,
        producer=producer,
        kind=_KINDS.number("kind", kind or ""),
        name=name,
        package=package,
        status=_STATUSES.number("status", status or ""),
    )
    return Listing("ListContracts", request, lambda r: map(_contract, r.contracts))


def claim_file(board: str, filepath: str, owner: str) -> Call[FileClaim]:
    """Claim a file for a phase. Raises FileAlreadyClaimed when another phase has it."""
    request = pb.ClaimFileRequest(board=board, filepath=filepath, owner=owner)
    return Call("ClaimFile", request, lambda r: _claim(r.claim))


def release_claims(board: str, owner: str, filepaths: Sequence[str] = ()) -> Call[int]:
    """Release those of the files that the phase holds, or all it holds; return how many."""
    request = pb.ReleaseClaimsRequest(board=board, owner=owner, filepaths=filepaths)
    return Call("ReleaseClaims", request, lambda r: r.released)


def file_owner(board: str, filepath: str) -> Call[str]:
    """Return the phase that has claimed the file, "" when none has."""
    request = pb.GetFileOwnerRequest(board=board, filepath=filepath)
    return Call("GetFileOwner", request, lambda r: r.owner)


def claims_for(board: str, phase_id: str) -> Listing[str]:
    """Return the paths that the phase has claimed, in byte order."""
    request = pb.ListClaimsRequest(board=board, owner=phase_id)
    return Listing("ListClaims", request, lambda r: (claim.filepath for claim in r.claims))


def list_claims(board: str, owner: str | None = None) -> Listing[FileClaim]:
    """Return the claims of one phase, or of all, in the byte order of their paths."""
    request = pb.ListClaimsRequest(board=board, owner=owner)
    return Listing("ListClaims", request, lambda r: map(_claim, r.claims))


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
            return self._numbers[word]
        except KeyError:
            known = ", ".join(filter(None, self._numbers))
            raise InvalidArgument.of(field, f'"{word}" is not one of {known}') from None

    def word(self, number: int) -> Word:
        """Return the empty word for a number that this client does not know."""
        return self._words.get(number) or self._words[0]


_STATES = _Words(PhaseState, pb.PhaseState, "PHASE_STATE")
_KINDS = _Words(ContractKind, pb.ContractKind, "CONTRACT_KIND")
_STATUSES = _Words(ContractStatus, pb.ContractStatus, "CONTRACT_STATUS")


def _to_proto(contract: Contract) -> pb.Contract:
    return pb.Contract(
        producer=contract.producer,
        kind=_KINDS.number("kind", contract.kind),
        name=contract.name,
        signature=contract.signature,
        package=contract.package,
        status=_STATUSES.number("status", contract.status),
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
    return FileClaim(claim.filepath, claim.owner, _time(claim.claimed_at))


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
