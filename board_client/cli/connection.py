"""Connect a command to its board, and turn errors of the board into failures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from board_client.cli.failure import ClaimRefused, ExitCode, Failure
from board_client.cli.settings import Access, Settings
from board_client.model import FileFree

if TYPE_CHECKING:
    from board_client.credentials import Credentials
    from board_client.errors import BoardError
    from board_client.sync import BoardClient

# The option or variable of each field of Credentials.
_OPTIONS = {
    "tls": "--tls",
    "ca": "--tls-ca",
    "cert": "--tls-cert",
    "key": "--tls-key",
    "token": "BOARD_TOKEN",
    "token_file": "--token-file",
}


@contextmanager
def connect(settings: Settings) -> Iterator["BoardClient"]:
    """Yield a client of the board that the settings name, or of the default board.

    Raises Failure for errors of the board.
    """
    # grpc takes longer to import than everything else, and help does not need it.
    from board_client.errors import BoardError  # noqa: PLC0415
    from board_client.sync import BoardClient  # noqa: PLC0415

    try:
        with BoardClient(
            settings.target,
            settings.board,
            timeout=settings.timeout,
            credentials=_credentials(settings.access),
        ) as client:
            yield client.with_options(session_id=settings.session) if settings.session else client
    except BoardError as error:
        raise failure_of(error, settings.target) from error
    except UnicodeEncodeError as error:
        raise Failure(f"not valid UTF-8: {error.object!r}", ExitCode.BAD_INPUT) from error


@contextmanager
def connect_board(settings: Settings) -> Iterator["BoardClient"]:
    """Yield a client of the board that the settings name; if they name none, choose one.

    Raises Failure for errors of the board, and where several boards could be meant.
    """
    with connect(settings) as client:
        if settings.board or not (board := _chosen(client)):
            yield client
            return
        yield client.with_options(board=board, session_id=settings.session)


def _chosen(client: "BoardClient") -> str:
    """Return the board where none is named: the default board, else the only one.

    "" is the default board. It is chosen unless it has never been changed and others have.
    Raises Failure where several could be meant.
    """
    boards = client.list_boards()
    in_use = [board.name for board in boards if board.revision]
    if len(boards) == 1:
        return boards[0].name
    if len(in_use) <= 1:
        return "".join(in_use)
    if _default_in_use(client):
        return ""
    names = ", ".join(in_use)
    raise Failure(
        f"several boards are in use; name one with --board or BOARD_NAME: {names}",
        ExitCode.BAD_INPUT,
        "BOARD_NOT_NAMED",
        {"boards": in_use},
    )


def _default_in_use(client: "BoardClient") -> bool:
    from board_client.errors import BoardNotFound, PermissionDenied  # noqa: PLC0415  as above

    try:
        # This file is free, so the call returns at once, with the board's revision.
        return client.wait_for(FileFree(f"board {uuid4().hex}")).revision > 0
    except (BoardNotFound, PermissionDenied):
        return False


def _credentials(access: Access) -> "Credentials":
    """Return the credentials of the options; --token-file overrides BOARD_TOKEN."""
    from board_client.credentials import Credentials  # noqa: PLC0415  as below

    token = "" if access.token_file else os.environ.get("BOARD_TOKEN", "")
    return Credentials(access.tls, access.ca, access.cert, access.key, token, access.token_file)


def failure_of(error: "BoardError", target: str) -> Failure:
    """Return an error of the board at `target` as a failure of the command."""
    from board_client.errors import FileAlreadyClaimed  # noqa: PLC0415  as above

    text, code = _described(error, target)
    reason = error.reason or error.code.name
    if isinstance(error, FileAlreadyClaimed):
        # The server's text names one file, and cuts a long path.
        return ClaimRefused(error.conflicts, reason)
    return Failure(text, code, reason, error.metadata)


def _described(error: "BoardError", target: str) -> tuple[str, ExitCode]:
    """Return what to print for an error, and the exit code."""
    from board_client import errors  # noqa: PLC0415  as above

    if not error.reason and type(error) in {errors.Unavailable, errors.BoardError}:
        return _without_reason(error.code.name, target)
    match error:
        case errors.BoardNotFound():
            return (
                f'board "{error.board}" does not exist; '
                f"`board --board {error.board} open` makes it, `board boards` lists the others"
            ), ExitCode.ERROR
        case errors.InvalidArgument():
            return str(error), ExitCode.BAD_INPUT
        case errors.BadCredentials():
            code = ExitCode.BAD_INPUT if error.before_sent else ExitCode.NOT_ALLOWED
            return error.worded(_OPTIONS), code
        case errors.Unauthenticated() | errors.PermissionDenied():
            return str(error), ExitCode.NOT_ALLOWED
        case errors.Unavailable() | errors.DeadlineExceeded() | errors.LimitExceeded():
            return str(error), ExitCode.UNAVAILABLE
        case errors.StateMismatch():
            return str(error), ExitCode.STATE_MISMATCH
        case errors.SessionExpired() if error.reason:
            return (
                f'session "{error.session_id}" has ended: its running phases were failed or '
                "queued again, and its files released"
            ), ExitCode.SESSION_EXPIRED
        case errors.SessionExpired():  # by this machine's clock
            return str(error), ExitCode.SESSION_EXPIRED
        case errors.RevisionCompacted():
            return (
                "events that old are no longer kept; the oldest revision to resume from is "
                f"{error.oldest_revision}. Take a full `board snapshot`, and resume from there"
            ), ExitCode.ERROR
        case _:
            return str(error), ExitCode.ERROR


def _without_reason(code: str, target: str) -> tuple[str, ExitCode]:
    """Describe a status of gRPC itself, whose text does not help a person."""
    match code:
        case "UNAVAILABLE":
            text = f"no board answers at {target}; `board serve` starts one"
            return text, ExitCode.UNAVAILABLE
        case "CANCELLED":
            text = f"the server at {target} ended the call; it may be shutting down"
            return text, ExitCode.UNAVAILABLE
        case "UNIMPLEMENTED":
            text = f"the server at {target} is older than this command, or is not a board"
        case "RESOURCE_EXHAUSTED":
            text = f"the request or its answer is larger than the server at {target} allows"
        case _:
            text = f"the call failed at {target} with {code}; the server's log may say why"
    return text, ExitCode.ERROR
