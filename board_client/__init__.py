"""The board client: what a worker installs.

from board_client import BoardClient

with BoardClient("127.0.0.1:7447", "my-nebula") as board:
    board.open_board()
    board.claim_file("internal/board/sqlite.go", owner="board-store")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from board_client.aio import AsyncBoardClient, AsyncBoardSession
    from board_client.credentials import Credentials
    from board_client.errors import (
        BadCredentials,
        BoardError,
        BoardNotFound,
        BoardReplaced,
        ClientClosed,
        DeadlineExceeded,
        FileAlreadyClaimed,
        InternalError,
        InvalidArgument,
        LimitExceeded,
        PermissionDenied,
        RevisionCompacted,
        RevisionMismatch,
        SessionExpired,
        ShuttingDown,
        StateMismatch,
        StoreFull,
        StoreUnavailable,
        Unauthenticated,
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
    "BadCredentials",
    "BoardClient",
    "BoardError",
    "BoardInfo",
    "BoardNotFound",
    "BoardReplaced",
    "BoardSession",
    "Change",
    "ClientClosed",
    "Completion",
    "Contract",
    "ContractKind",
    "ContractPublished",
    "ContractStatus",
    "Credentials",
    "DeadlineExceeded",
    "Event",
    "EventCause",
    "EventKind",
    "FileAlreadyClaimed",
    "FileClaim",
    "FileFree",
    "InternalError",
    "InvalidArgument",
    "LimitExceeded",
    "Met",
    "OnExpiry",
    "PermissionDenied",
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
    "Unauthenticated",
    "Unavailable",
    "WatchTooSlow",
]

# grpc takes a while to import, and the `board` command can do without for its
# help and its completions: a module is imported when one of its names is used.
_MODULES = ("model", "errors", "credentials", "sync", "aio")


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _MODULES:
            found = vars(import_module(f"board_client.{module}"))
            if name in found:
                globals()[name] = found[name]
                return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
