"""The board client: what a worker installs.

from board_client import BoardClient

with BoardClient("127.0.0.1:7447", "my-nebula") as board:
    board.open_board()
    board.claim_file("internal/board/sqlite.go", owner="board-store")
"""

from board_client.aio import AsyncBoardClient, AsyncBoardSession
from board_client.errors import (
    BoardError,
    BoardNotFound,
    BoardReplaced,
    DeadlineExceeded,
    FileAlreadyClaimed,
    InternalError,
    InvalidArgument,
    RevisionCompacted,
    RevisionMismatch,
    SessionExpired,
    ShuttingDown,
    StateMismatch,
    StoreFull,
    StoreUnavailable,
    Unavailable,
    WatchTooSlow,
)
from board_client.model import (
    Archived,
    BoardInfo,
    Change,
    Completion,
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
    Session,
    Snapshot,
)
from board_client.sync import BoardClient, BoardSession

__all__ = [
    "Archived",
    "AsyncBoardClient",
    "AsyncBoardSession",
    "BoardClient",
    "BoardError",
    "BoardInfo",
    "BoardNotFound",
    "BoardReplaced",
    "BoardSession",
    "Change",
    "Completion",
    "Contract",
    "ContractKind",
    "ContractPublished",
    "ContractStatus",
    "DeadlineExceeded",
    "Event",
    "EventCause",
    "EventKind",
    "FileAlreadyClaimed",
    "FileClaim",
    "FileFree",
    "InternalError",
    "InvalidArgument",
    "Met",
    "OnExpiry",
    "Phase",
    "PhaseIn",
    "PhaseState",
    "RevisionCompacted",
    "RevisionMismatch",
    "Session",
    "SessionExpired",
    "ShuttingDown",
    "Snapshot",
    "StateMismatch",
    "StoreFull",
    "StoreUnavailable",
    "Unavailable",
    "WatchTooSlow",
]
