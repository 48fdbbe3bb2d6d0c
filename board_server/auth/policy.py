"""Access: who calls, and whether this caller may make this call."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc

from board_client.v1 import board_pb2 as pb
from board_server.auth.certificate_names import names_in
from board_server.auth.token_file import Tokens, parse
from board_server.errors import PermissionDenied, Unauthenticated
from board_server.files.reload import Reloader
from board_server.model import Session, is_board_name
from board_server.principal import ANYONE, Caller, Role

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = Iterable[tuple[str, str | bytes]]
SessionOf = Callable[[str, str], Awaitable[Session | None]]

log = logging.getLogger(__name__)

REFLECTION = Role.READER
"""The least role that may ask what the service looks like."""

REREAD = 0.1
"""Seconds between two looks at the file of tokens: what it costs a call must not be felt."""

MOST_NAMES = 500
"""The most characters of a certificate's names that an error shows."""

_OF_ALL_BOARDS = pb.ListBoardsRequest

_BEARER = "bearer "


class Access:
    """Knows callers by their tokens or certificates, and says no to those who may not."""

    def __init__(self, tokens: Path | None, default_board: str, session_of: SessionOf) -> None:
        """Read the file of tokens; without one everybody may do everything. Raises BadTokens."""
        self._file = tokens
        self._tokens: Reloader[Tokens] | None = None
        if tokens:
            self._tokens = Reloader([tokens], lambda data: parse(tokens, data), every=REREAD)
        self.default_board = default_board
        self._session_of = session_of

    @property
    def asks(self) -> bool:
        """Whether callers are asked who they are."""
        return self._tokens is not None

    @property
    def tokens(self) -> Tokens | None:
        """What the file of tokens said when it was last read; None without a file."""
        return self._tokens.latest if self._tokens else None

    async def reread(self) -> Tokens | None:
        """Return what the file of tokens says now, a new one when it has changed."""
        return await self._tokens.fresh() if self._tokens else None

    def warn(self, *, certificates: bool) -> None:
        """Tell the log whom the file of tokens can let in never.

        `certificates` says whether callers are asked for theirs.
        """
        tokens = self.tokens
        if tokens is None:
            return
        if not tokens.tokens:
            log.warning(
                "%s has no token in it, so that every caller is refused: `board token create`",
                self._file,
            )
        names = [token.caller.name for token in tokens.tokens if token.certificate]
        if names and not certificates:
            log.warning(
                "%s: the certificates of %s are asked of nobody: give --client-ca",
                self._file,
                ", ".join(names),
            )

    async def admit(self, least: Role, metadata: Metadata, context: Context) -> Caller:
        """Return the caller. Raises Unauthenticated, or PermissionDenied if its role is too low."""
        tokens = await self.reread()
        if tokens is None:
            return ANYONE
        caller = _known(tokens, metadata, context)
        if caller.role < least:
            raise PermissionDenied(
                f'the token "{caller.name}" has the role {caller.role.name.lower()}; '
                f"this needs {least.name.lower()}"
            )
        return caller

    async def permit(self, caller: Caller, request: Any) -> None:
        """Raise PermissionDenied unless a bound caller may make this request."""
        if isinstance(request, _OF_ALL_BOARDS):
            return  # answered with the caller's own
        board = request.board or self.default_board
        if caller.boards is not None and board not in caller.boards:
            raise PermissionDenied(f'the token "{caller.name}" is not for this board')
        if caller.worker:
            await self._permit_worker(caller, board, request)

    async def _permit_worker(self, caller: Caller, board: str, request: Any) -> None:
        """Let a worker name none but itself, nor a session of another's."""
        fields = request.DESCRIPTOR.fields_by_name
        session_id: str = request.session_id if "session_id" in fields else ""
        if "worker" in fields and request.worker != caller.worker:
            # Without a name a phase keeps the one that it has: a session vouches for the caller.
            named = not fields["worker"].has_presence or request.HasField("worker")
            if named or not session_id:
                raise PermissionDenied(
                    f'the token "{caller.name}" is for the worker "{caller.worker}" alone; '
                    "name it, or a session of its own"
                )
        if session_id and is_board_name(board):
            session = await self._session_of(board, session_id)
            if session and session.worker != caller.worker:
                raise PermissionDenied(f"the session is not of the worker {caller.worker}")


def _known(tokens: Tokens, metadata: Metadata, context: Context) -> Caller:
    shown = [value for key, value in metadata if key == "authorization"]
    if not shown:
        return _by_certificate(tokens, context)
    (value, *more) = shown
    if more or not isinstance(value, str) or value[: len(_BEARER)].lower() != _BEARER:
        raise Unauthenticated("authorization must be one bearer token")
    caller = tokens.by_secret(value[len(_BEARER) :])
    if caller is None:
        raise Unauthenticated("the server does not know this token")
    return caller


def _by_certificate(tokens: Tokens, context: Context) -> Caller:
    """Return for whom the caller's certificate stands, which the handshake has checked."""
    names = [
        name for pem in context.auth_context().get("x509_pem_cert", ()) for name in names_in(pem)
    ]
    caller = tokens.by_certificate(names)
    if caller:
        return caller
    if names:
        listed = ", ".join(f'"{name}"' for name in names)
        raise Unauthenticated(
            f"no token of the server is for a certificate of these names: {listed[:MOST_NAMES]}"
        )
    raise Unauthenticated("this server asks for a token: give one with --token-file")
