"""Read the requests of the List calls, and their page tokens."""

from typing import NamedTuple

from board_client.v1 import board_pb2 as pb
from board_server.model import ContractFilter, ContractKind, ContractStatus, PageRequest, PhaseState
from board_server.wire import enums, page_tokens
from board_server.wire.validation import MAX_NAME, MAX_PACKAGE, Fields

DEFAULT_PAGE_SIZE = 1000
MAX_PAGE_SIZE = 10_000


class Listed(NamedTuple):
    """What each List request has: the board, the page, and the scope of its page tokens."""

    board: str
    page: PageRequest
    scope: bytes

    def token(self, after: page_tokens.Cursor | None) -> str:
        """Make the token of the next page."""
        return page_tokens.encode(self.scope, after)


def list_boards(request: pb.ListBoardsRequest) -> Listed:
    """Read ListBoards' request."""
    fields = Fields()
    listed = _listed(fields, request, (str,))
    fields.done()
    return listed


def list_phases(request: pb.ListPhasesRequest) -> tuple[Listed, list[PhaseState]]:
    """Read ListPhases' request."""
    fields = Fields()
    listed = _listed(fields, request, (str, str))
    fields.batch("states", len(request.states))
    fields.done()
    states = [
        fields.word(
            f"states[{index}]", state, enums.WRITABLE_STATES, instead=PhaseState.UNSPECIFIED
        )
        for index, state in enumerate(request.states)
    ]
    fields.done()
    return listed, states


def list_sessions(request: pb.ListSessionsRequest) -> Listed:
    """Read ListSessions' request."""
    fields = Fields()
    listed = _listed(fields, request, (str,))
    fields.done()
    return listed


def list_contracts(request: pb.ListContractsRequest) -> tuple[Listed, ContractFilter]:
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
    kind = fields.word("kind", request.kind, enums.KINDS, instead=ContractKind.UNSPECIFIED)
    status = fields.word(
        "status", request.status, enums.STATUSES, instead=ContractStatus.UNSPECIFIED
    )
    fields.done()
    return listed, ContractFilter(producer, kind or None, name, package, status or None)


def list_claims(request: pb.ListClaimsRequest) -> tuple[Listed, str | None]:
    """Read ListClaims' request."""
    fields = Fields()
    listed = _listed(fields, request, (str,))
    owner = fields.identifier("owner", request.owner) if request.HasField("owner") else None
    fields.done()
    return listed, owner


ListRequest = (
    pb.ListBoardsRequest
    | pb.ListPhasesRequest
    | pb.ListContractsRequest
    | pb.ListClaimsRequest
    | pb.ListSessionsRequest
)


def _listed(fields: Fields, request: ListRequest, shape: tuple[type, ...]) -> Listed:
    """Read the board and the page. `shape` has the types of the list's cursors."""
    board = fields.board(request.board)
    if request.page_size < 0:
        fields.refuse("page_size", "must not be negative")
    size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    if len(request.page_token) > page_tokens.MAX_TOKEN:
        fields.refuse("page_token", f"must not be longer than {page_tokens.MAX_TOKEN:,} bytes")
        fields.done()  # before it is parsed
    scope = _scope(request)
    try:
        after = page_tokens.decode(scope, request.page_token, shape)
    except ValueError:
        fields.refuse("page_token", "must be the next_page_token of the same list's last page")
        after = None
    return Listed(board, PageRequest(size, after), scope)


def _scope(request: ListRequest) -> bytes:
    """Make the scope of a list's page tokens: its kind, its board and its filters."""
    bare = type(request)()
    bare.MergeFrom(request)  # type: ignore[arg-type]  # of the same type, which mypy cannot see
    bare.page_size = 0
    bare.page_token = ""
    return type(request).__name__.encode() + bare.SerializeToString(deterministic=True)
