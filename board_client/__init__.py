"""The board client: what a worker installs.

from board_client import BoardClient

with BoardClient("127.0.0.1:7447", "my-nebula") as board:
    board.open_board()
    board.claim_file("internal/board/sqlite.go", owner="board-store")
"""

from board_client.aio import AsyncBoardClient
from board_client.errors import (
    BoardError,
    BoardNotFound,
    DeadlineExceeded,
    FileAlreadyClaimed,
    InternalError,
    InvalidArgument,
    ShuttingDown,
    StateMismatch,
    StoreFull,
    StoreUnavailable,
    Unavailable,
)
from board_client.model import (
    BoardInfo,
    Contract,
    ContractKind,
    ContractStatus,
    FileClaim,
    Phase,
    PhaseState,
)
from board_client.sync import BoardClient

__all__ = [
    "AsyncBoardClient",
    "BoardClient",
    "BoardError",
    "BoardInfo",
    "BoardNotFound",
    "Contract",
    "ContractKind",
    "ContractStatus",
    "DeadlineExceeded",
    "FileAlreadyClaimed",
    "FileClaim",
    "InternalError",
    "InvalidArgument",
    "Phase",
    "PhaseState",
    "ShuttingDown",
    "StateMismatch",
    "StoreFull",
    "StoreUnavailable",
    "Unavailable",
]
