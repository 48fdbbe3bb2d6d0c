"""Endpoint: a connection to a server, and the options of the calls that use it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from board_client import arguments
from board_client.backoff import Retry
from board_client.calls import Scope
from board_client.channel import Connection
from board_client.credentials import Credentials
from board_client.diagnosis import Diagnosis
from board_client.model import EventKindLike
from board_client.watch import Follow


@dataclass(frozen=True)
class Endpoint:
    """A connection, and the options of the calls on it. `timeout` is in seconds.

    Endpoints that `with_options` derives share the connection.
    """

    connection: Connection
    diagnosis: Diagnosis
    scope: Scope
    timeout: float
    phase_id: str = ""

    channels: ClassVar[Any]
    """The module that makes channels: `grpc` or `grpc.aio`."""

    @classmethod
    def to(
        cls, target: str, scope: Scope, phase_id: str, timeout: float, credentials: Credentials
    ) -> Self:
        """Return an endpoint with a connection of its own, which the first call opens.

        Raises BadCredentials, and InvalidArgument for a target that is not valid.
        """
        connection = Connection(cls.channels, target, credentials)
        diagnosis = Diagnosis(connection.target, credentials)
        checked = Scope(
            arguments.text("board", scope.board), arguments.text("session_id", scope.session_id)
        )
        return cls(
            connection,
            diagnosis,
            checked,
            arguments.seconds("timeout", timeout),
            arguments.text("phase_id", phase_id),
        )

    def with_options(
        self,
        board: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Return an endpoint on the same connection; None keeps an option.

        Another board has neither a session nor a phase, unless it is given.
        """
        scope, phase_id = self.scope, self.phase_id
        if board is not None and arguments.text("board", board) != scope.board:
            scope, phase_id = Scope(board), ""
        if session_id is not None:
            scope = scope._replace(session_id=arguments.text("session_id", session_id))
        seconds = self.timeout if timeout is None else arguments.seconds("timeout", timeout)
        return replace(self, scope=scope, phase_id=phase_id, timeout=seconds)

    def retry(self) -> Retry:
        """Return the attempts of a new call."""
        return Retry(self.timeout, self.connection.attempts)

    def follow(
        self,
        kinds: Sequence[EventKindLike] = (),
        *,
        after_revision: int | None = None,
        snapshots: bool = False,
    ) -> Follow:
        """Return the state of a new watch."""
        return Follow(
            self.scope,
            kinds,
            attempts=self.connection.attempts,
            after_revision=after_revision,
            snapshots=snapshots,
        )
