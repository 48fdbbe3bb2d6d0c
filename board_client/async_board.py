"""AsyncBoard: the calls of one board, with `await`.

`make generate` makes board.py from this file: the same calls without `await`.
"""

import copy
from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, Self

from board_client import calls
from board_client.arguments import FilePath
from board_client.async_transport import AsyncTransport, AsyncWatch
from board_client.backoff import Retry
from board_client.calls import Scope
from board_client.errors import BoardError, DeadlineExceeded, Unavailable
from board_client.model import (
    Archived,
    BoardInfo,
    Completion,
    Condition,
    Contract,
    ContractKindLike,
    ContractStatusLike,
    Event,
    EventKindLike,
    FileClaim,
    Met,
    NotMet,
    OnExpiry,
    OnExpiryLike,
    Phase,
    PhaseState,
    PhaseStateLike,
    Session,
    Snapshot,
)

LOOKING = 1.0
"""Seconds that reading the conditions of a `wait_for` may take after its deadline."""


class AsyncBoard:
    """The calls of one board, by a client or within a session.

    Calls raise subclasses of BoardError, and TypeError for an argument of a wrong type.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def __repr__(self) -> str:
        options = f"board={self.board!r}, target={self.target!r}, session_id={self.session_id!r}"
        return f"<{type(self).__name__} {options}, timeout={self.timeout:g}>"

    @property
    def target(self) -> str:
        """Address of the server, with its port."""
        return self._transport.connection.target

    @property
    def scope(self) -> Scope:
        """Board and session of the calls."""
        return self._transport.scope

    @property
    def board(self) -> str:
        """Name of the board; "" is the server's default board."""
        return self.scope.board

    @property
    def session_id(self) -> str:
        """ID of the session that the calls belong to; "" for none."""
        return self.scope.session_id

    @property
    def phase_id(self) -> str:
        """ID of the phase that this process works on, as its environment names it; "" for none."""
        return self._transport.phase_id

    @property
    def timeout(self) -> float:
        """Seconds that a call may take, its retries included."""
        return self._transport.timeout

    async def open_board(self) -> BoardInfo:
        """Create the board if it does not exist, and return its name, ID and revision.

        Idempotent.
        """
        return await self._transport.send(calls.open_board(self.scope))

    async def list_boards(self) -> list[BoardInfo]:
        """Return every board of the server, in the byte order of their names."""
        return await self._transport.collect(calls.list_boards())

    async def set_phase_state(
        self,
        phase_id: str,
        state: PhaseStateLike,
        *,
        worker: str | None = None,
        expected_state: PhaseStateLike | Literal[""] | None = None,
    ) -> Phase:
        """Create or update a phase, and return it.

        Without `worker` the phase keeps the worker that it has. With
        `expected_state` the call is a compare-and-set: it raises StateMismatch
        unless the phase is in that state, or, for "", unless it does not exist.
        Within a session, a phase that is set to running is bound to the session.
        """
        return await self._transport.send(
            calls.set_phase_state(self.scope, phase_id, state, worker, expected_state)
        )

    async def get_phase_state(self, phase_id: str) -> PhaseState:
        """Return the state of a phase; "" (UNSPECIFIED) if it does not exist."""
        return await self._transport.send(calls.get_phase_state(self.scope, phase_id))

    async def get_phase(self, phase_id: str) -> Phase | None:
        """Return a phase with its worker and times; None if it does not exist."""
        return await self._transport.send(calls.get_phase(self.scope, phase_id))

    async def list_phases(self, *states: PhaseStateLike) -> list[Phase]:
        """Return the phases in one of the states, or all, in the order they were first posted."""
        return await self._transport.collect(calls.list_phases(self.scope, states))

    async def publish_contract(self, contract: Contract) -> Contract:
        """Create or replace the contract of this producer, kind and name; return it."""
        return await self._transport.send(calls.publish_contract(self.scope, contract))

    async def publish_contracts(self, contracts: Iterable[Contract]) -> int:
        """Publish a batch in one transaction; return how many distinct contracts it held.

        Of two contracts with the same key the last one is published.
        """
        return await self._transport.send(calls.publish_contracts(self.scope, contracts))

    async def contracts_for(self, phase_id: str) -> list[Contract]:
        """Return the contracts that a phase has published, in the order of their ids."""
        return await self._transport.collect(calls.contracts_for(self.scope, phase_id))

    async def all_contracts(self) -> list[Contract]:
        """Return every contract, in the order of their ids."""
        return await self._transport.collect(calls.list_contracts(self.scope))

    async def list_contracts(
        self,
        *,
        producer: str | None = None,
        kind: ContractKindLike | Literal[""] | None = None,
        name: str | None = None,
        package: str | None = None,
        status: ContractStatusLike | None = None,
    ) -> list[Contract]:
        """Return the contracts that equal every filter given, in the order of their ids."""
        return await self._transport.collect(
            calls.list_contracts(
                self.scope, producer=producer, kind=kind, name=name, package=package, status=status
            )
        )

    async def claim_file(self, filepath: FilePath, owner: str) -> FileClaim:
        """Claim a file for the phase `owner`. Claiming it again succeeds.

        Raises FileAlreadyClaimed if another phase has it.
        """
        return await self._transport.send(calls.claim_file(self.scope, filepath, owner))

    async def claim_files(self, filepaths: Iterable[FilePath], owner: str) -> list[FileClaim]:
        """Claim several files for the phase `owner`, all or none.

        Raises FileAlreadyClaimed, whose `conflicts` has each file that another
        phase has.
        """
        return await self._transport.send(calls.claim_files(self.scope, filepaths, owner))

    async def release_claims(self, owner: str, filepaths: Iterable[FilePath] | None = None) -> int:
        """Release files of the phase `owner`; without `filepaths` all that it has claimed.

        Files that it has not claimed are ignored. Returns how many were released.
        """
        return await self._transport.send(calls.release_claims(self.scope, owner, filepaths))

    async def file_owner(self, filepath: FilePath) -> str:
        """Return the ID of the phase that has claimed the file; "" if none has."""
        return await self._transport.send(calls.file_owner(self.scope, filepath))

    async def claims_for(self, phase_id: str) -> list[str]:
        """Return the paths that a phase has claimed, in byte order."""
        return await self._transport.collect(calls.claims_for(self.scope, phase_id))

    async def list_claims(self, owner: str | None = None) -> list[FileClaim]:
        """Return the claims of one phase, or of all, in the byte order of their paths."""
        return await self._transport.collect(calls.list_claims(self.scope, owner))

    async def complete_phase(
        self,
        phase_id: str,
        state: PhaseStateLike = PhaseState.DONE,
        contracts: Iterable[Contract] = (),
    ) -> Completion:
        """Publish a phase's contracts, set its state and release its claims, in one transaction.

        `state` is done, failed, or another state in which its work has ended.
        """
        return await self._transport.send(
            calls.complete_phase(self.scope, phase_id, state, contracts)
        )

    async def get_snapshot(self) -> Snapshot:
        """Return the whole board at one revision."""
        return await self._transport.assemble(calls.get_snapshot(self.scope))

    async def archive_board(self, revision: int, board_id: str = "") -> Archived:
        """Remove all phases, contracts and claims of a board whose snapshot you have stored.

        `revision` and `board_id` are the snapshot's. Raises RevisionMismatch if the
        board has changed since, and BoardReplaced if it is another board; without a
        `board_id` that is not checked.
        """
        return await self._transport.send(calls.archive_board(self.scope, revision, board_id))

    async def open_session(
        self,
        worker: str,
        ttl: timedelta | float = 30.0,
        on_expiry: OnExpiryLike = OnExpiry.FAIL,
    ) -> Session:
        """Open a session that you renew yourself; `session()` returns one that renews itself.

        `ttl` is a timedelta or a number of seconds: 1 s to 24 h.
        """
        return await self._transport.send(calls.open_session(self.scope, worker, ttl, on_expiry))

    async def renew_session(self, session_id: str) -> Session:
        """Give a session its full ttl again. Raises SessionExpired if it has ended."""
        return await self._transport.send(calls.renew_session(self.scope, session_id))

    async def close_session(self, session_id: str) -> int:
        """End a session: release its claims, and end its running phases as `on_expiry` says.

        Returns how many claims were released. Raises SessionExpired if it has ended.
        """
        return await self._transport.send(calls.close_session(self.scope, session_id))

    async def list_sessions(self) -> list[Session]:
        """Return the sessions that have not ended, in the order of their IDs."""
        return await self._transport.collect(calls.list_sessions(self.scope))

    async def wait_for(self, *conditions: Condition) -> Met:
        """Return as soon as all the conditions hold at one revision.

        The timeout bounds the wait: `client.with_options(timeout=300).wait_for(...)`
        raises DeadlineExceeded after five minutes; its `not_met` says which conditions
        do not hold then, and why. Reading them may take a second more. The wait
        survives restarts of the server. A server that does not answer until the deadline
        raises DeadlineExceeded too, and `not_met` is None.
        """
        try:
            return await self._transport.persist(
                calls.wait_for(self.scope, conditions), Retry(self.timeout)
            )
        except DeadlineExceeded as error:
            not_met = await self._not_met(conditions)
            failure = error if not_met is None else DeadlineExceeded.of_wait(self.timeout, not_met)
            raise failure from None
        except Unavailable as error:
            if error.reason:  # the server answers, and says why it is unavailable
                raise
            raise DeadlineExceeded.of(self.target, self.timeout) from error

    def watch(self, *kinds: EventKindLike, after_revision: int | None = None) -> AsyncWatch[Event]:
        """Return the board's events as they happen: each once, in order, without end.

        It has every event after its start, or after `after_revision`. It starts with
        this call, or, if it is for `async for`, with its first step or with
        `async with`. A watch whose connection breaks resumes without gap or repeat.
        Raises RevisionCompacted or BoardReplaced where that is not possible;
        `watch_from_snapshot` takes a new snapshot there. Leave the loop, or close the
        watch, to stop it.
        """
        return self._transport.watch(kinds, after_revision)

    def watch_from_snapshot(self, *kinds: EventKindLike) -> AsyncWatch[Snapshot | Event]:
        """Return a snapshot, and then the events after it as they happen.

        Where the board no longer has the events in between, another snapshot comes;
        it replaces everything before it.
        """
        return self._transport.watch_from_snapshot(kinds)

    async def events(self, after_revision: int, until_revision: int) -> list[Event]:
        """Return the events after one revision, up to and including another.

        The board must have reached `until_revision`. Raises RevisionCompacted if it
        no longer has the events.
        """
        return await self._transport.events(after_revision, until_revision)

    async def _not_met(self, conditions: Iterable[Condition]) -> list[NotMet] | None:
        """Read once which conditions do not hold; return None if that fails."""
        retry = Retry(LOOKING)
        not_met: list[NotMet] = []
        try:
            for condition in conditions:
                call = calls.not_met(self.scope, condition)
                if found := await self._transport.once(call, retry.left()):
                    not_met.append(found)
        except BoardError:
            return None
        return not_met

    def _with(self, transport: AsyncTransport) -> Self:
        """Return a copy whose calls use another transport."""
        other = copy.copy(self)
        vars(other).update(_transport=transport)
        return other
