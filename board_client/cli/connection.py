"""connect: the board's client for one command, with its errors as failures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from board_client.cli.failure import ClaimRefused, ExitCode, Failure
from board_client.cli.settings import Access, Settings

if TYPE_CHECKING:
    from board_client.credentials import Credentials
    from board_client.errors import BoardError
    from board_client.sync import BoardClient

# What gives each field of Credentials.
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
    """Yield a client of the board that the settings name. Raises Failure for its errors."""
    # grpc takes longer to import than all else: help and completion do without.
    from board_client.errors import BoardError  # noqa: PLC0415
    from board_client.sync import BoardClient  # noqa: PLC0415

    try:
        with BoardClient(
            settings.target,
            settings.board,
            timeout=settings.timeout,
            credentials=_credentials(settings.access),
        ) as client:
            yield client.in_session(settings.session) if settings.session else client
    except BoardError as error:
        raise failure_of(error, settings.target) from error
    except UnicodeEncodeError as error:
        raise Failure(f"not valid UTF-8: {error.object!r}", ExitCode.BAD_INPUT) from error


def _credentials(access: Access) -> "Credentials":
    """Return the credentials of the options; a file of a token goes before BOARD_TOKEN."""
    from board_client.credentials import Credentials  # noqa: PLC0415  as below

    token = "" if access.token_file else os.environ.get("BOARD_TOKEN", "")
    return Credentials(access.tls, access.ca, access.cert, access.key, token, access.token_file)


def failure_of(error: "BoardError", target: str) -> Failure:
    """Say an error of the board at `target` to the person who typed the command."""
    from board_client import errors  # noqa: PLC0415  as above

    if not error.reason and type(error) in {errors.Unavailable, errors.BoardError}:
        return _without_reason(error.code.name, target)
    match error:
        case errors.FileAlreadyClaimed():
            # The text that came names one, and may be cut where its path is long.
            return ClaimRefused(error.conflicts)
        case errors.BoardNotFound():
            return Failure(
                f'board "{error.board}" does not exist; '
                f"`board --board {error.board} open` makes it, `board boards` lists the others"
            )
        case errors.InvalidArgument():
            return Failure(str(error), ExitCode.BAD_INPUT)
        case errors.BadCredentials():
            code = ExitCode.BAD_INPUT if error.before_sent else ExitCode.NOT_ALLOWED
            return Failure(error.worded(_OPTIONS), code)
        case errors.Unauthenticated() | errors.PermissionDenied():
            return Failure(str(error), ExitCode.NOT_ALLOWED)
        case errors.Unavailable() | errors.DeadlineExceeded() | errors.LimitExceeded():
            return Failure(str(error), ExitCode.UNAVAILABLE)
        case errors.StateMismatch():
            return Failure(str(error), ExitCode.STATE_MISMATCH)
        case errors.SessionExpired():
            return Failure(
                f'session "{error.session_id}" has ended, and its work was handed on',
                ExitCode.SESSION_EXPIRED,
            )
        case errors.RevisionCompacted():
            return Failure(
                f"changes that old are no longer kept; the oldest revision to go on from is "
                f"{error.oldest_revision}. Take a full `board snapshot`, and go on from there"
            )
        case _:
            return Failure(str(error))


def _without_reason(code: str, target: str) -> Failure:
    """Say what a status means that is gRPC's own; its text is of no use to a person."""
    match code:
        case "UNAVAILABLE":
            return Failure(
                f"no board answers at {target}; `board serve` starts one", ExitCode.UNAVAILABLE
            )
        case "CANCELLED":
            why = f"the server at {target} ended the call; is it stopping?"
            return Failure(why, ExitCode.UNAVAILABLE)
        case "UNIMPLEMENTED":
            return Failure(
                f"the server at {target} does not know this call: it is older, or no board"
            )
        case "RESOURCE_EXHAUSTED":
            return Failure(
                f"the request or its answer is larger than the server at {target} allows"
            )
        case _:
            return Failure(f"the call failed at {target} with {code}; the server's log may say why")
