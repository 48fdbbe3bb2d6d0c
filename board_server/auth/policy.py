"""The policy: which principal makes a call, and whether it may make it."""

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
from board_server.principal import ANYONE, Principal, Role

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = Iterable[tuple[str, str | bytes]]
SessionOf = Callable[[str, str], Awaitable[Session | None]]

log = logging.getLogger(__name__)

REFLECTION = Role.READER
"""The lowest role that may use reflection."""

REREAD = 0.1
"""Seconds between two reads of the token file at least, so that reading does not slow calls."""

MOST_NAMES = 500
"""The most characters of a certificate's names that an error shows."""

_OF_ALL_BOARDS = pb.ListBoardsRequest


class Policy:
    """Finds the principal of a call in the token file, and decides whether it may make the call."""

    def __init__(self, tokens: Path | None, default_board: str, session_of: SessionOf) -> None:
        """Read the token file; without one, everyone may do everything. Raises BadTokens."""
        self._file = tokens
        self._tokens: Reloader[Tokens] | None = None
        if tokens:
            self._tokens = Reloader([tokens], lambda data: parse(tokens, data), every=REREAD)
        self.default_board = default_board
        self._session_of = session_of

    @property
    def tokens(self) -> Tokens | None:
        """The tokens as last read; None without a token file."""
        return self._tokens.latest if self._tokens else None

    async def reread(self) -> Tokens | None:
        """Return the tokens as they are now; another object if the file has changed."""
        return await self._tokens.fresh() if self._tokens else None

    def warn(self, *, certificates: bool) -> None:
        """Log which tokens can never be used.

        `certificates` says whether the server asks clients for certificates.
        """
        tokens = self.tokens
        if tokens is None:
            return
        if not tokens.tokens:
            log.warning(
                "%s has no token in it, so every call is refused: "
                "make one with `board token create`",
                self._file,
            )
        names = [token.principal.name for token in tokens.tokens if token.certificate]
        if names and not certificates:
            log.warning(
                "%s: tokens %s require client certificates, but --client-ca is not set",
                self._file,
                ", ".join(names),
            )

    async def authorize(self, least: Role, metadata: Metadata, context: Context) -> Principal:
        """Return the principal. Raises Unauthenticated, or PermissionDenied if its role is lower.

        Rereads the token file if that is due.
        """
        if self._tokens is None:
            return ANYONE
        principal = _authenticated(await self._tokens.fresh(), metadata, context)
        if principal.role < least:
            raise PermissionDenied(
                f'the token "{principal.name}" has the role {principal.role.name.lower()}; '
                f"this needs {least.name.lower()}"
            )
        return principal

    async def authorize_request(self, principal: Principal, request: Any) -> None:
        """Raise PermissionDenied unless a bound principal may make this request."""
        if isinstance(request, _OF_ALL_BOARDS):
            return  # its reply lists only the boards of the principal
        board = request.board or self.default_board
        if principal.boards is not None and board not in principal.boards:
            raise PermissionDenied(f'the token "{principal.name}" is not for this board')
        if principal.worker:
            await self._authorize_worker(principal, board, request)

    async def _authorize_worker(self, principal: Principal, board: str, request: Any) -> None:
        """Raise PermissionDenied if the request names another worker, or its session."""
        fields = request.DESCRIPTOR.fields_by_name
        session_id: str = request.session_id if "session_id" in fields else ""
        if "worker" in fields and request.worker != principal.worker:
            # Without a name the phase keeps its worker; then the session identifies the worker.
            named = not fields["worker"].has_presence or request.HasField("worker")
            if named or not session_id:
                raise PermissionDenied(
                    f'the token "{principal.name}" is for the worker "{principal.worker}" alone; '
                    "name it, or a session of its own"
                )
        if session_id and is_board_name(board):
            session = await self._session_of(board, session_id)
            if session and session.worker != principal.worker:
                raise PermissionDenied(f"the session is not of the worker {principal.worker}")


def _authenticated(tokens: Tokens, metadata: Metadata, context: Context) -> Principal:
    """Return the principal of a call's token or certificate. Raises Unauthenticated."""
    shown = [value for key, value in metadata if key == "authorization"]
    if not shown:
        return _by_certificate(tokens, context)
    try:
        (value,) = shown
        principal = tokens.by_authorization(value)
    except ValueError:
        raise Unauthenticated("authorization must be one bearer token") from None
    if principal is None:
        raise Unauthenticated("the server does not know this token")
    return principal


def _by_certificate(tokens: Tokens, context: Context) -> Principal:
    """Return the principal of a call's certificate, which the handshake has verified."""
    names = [
        name for pem in context.auth_context().get("x509_pem_cert", ()) for name in names_in(pem)
    ]
    principal = tokens.by_certificate(names)
    if principal:
        return principal
    if names:
        listed = ", ".join(f'"{name}"' for name in names)
        raise Unauthenticated(
            f"no token of the server is for a certificate of these names: {listed[:MOST_NAMES]}"
        )
    raise Unauthenticated("this server asks for a token: give one with --token-file")
