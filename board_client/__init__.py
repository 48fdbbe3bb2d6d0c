"""The board client: what a worker installs.

from board_client import BoardClient

with BoardClient("127.0.0.1:7447", "my-nebula") as board:
    board.open_board()
    board.claim_file("internal/board/sqlite.go", owner="board-store")

AsyncBoardClient is the same with `await`. Calls raise subclasses of BoardError.
`__version__` is the version of the distribution, quasar-board.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from board_client.aio import AsyncBoardClient, AsyncBoardSession
    from board_client.async_board import AsyncBoard
    from board_client.board import Board
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
        Session,
        Snapshot,
    )
    from board_client.sync import BoardClient, BoardSession

__all__ = [
    "Archived",
    "AsyncBoard",
    "AsyncBoardClient",
    "AsyncBoardSession",
    "BadCredentials",
    "Board",
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
    "ContractKindLike",
    "ContractPublished",
    "ContractStatus",
    "ContractStatusLike",
    "Credentials",
    "DeadlineExceeded",
    "Event",
    "EventCause",
    "EventKind",
    "EventKindLike",
    "FileAlreadyClaimed",
    "FileClaim",
    "FileFree",
    "InternalError",
    "InvalidArgument",
    "LimitExceeded",
    "Met",
    "NotMet",
    "OnExpiry",
    "OnExpiryLike",
    "PermissionDenied",
    "Phase",
    "PhaseIn",
    "PhaseState",
    "PhaseStateLike",
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

# Importing grpc is slow, and the `board` command does not need it for its help and
# completion: a module is imported when one of its names is first used.
_MODULES = ("model", "errors", "credentials", "board", "sync", "async_board", "aio")

__version__: str


def __getattr__(name: str) -> object:
    if name == "__version__":
        # Imported here: it would take a third of the time of `board --help`.
        from importlib.metadata import version  # noqa: PLC0415

        globals()[name] = version("quasar-board")
        return globals()[name]
    if name in __all__:
        for module in _MODULES:
            found = vars(import_module(f"board_client.{module}"))
            if name in found:
                globals()[name] = found[name]
                return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
