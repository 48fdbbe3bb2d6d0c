"""Store: the interface of every backend. These docstrings are its whole contract.

`tests/conformance` tests each backend against them.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Protocol

from board_server.errors import BoardError
from board_server.model import (
    Archived,
    BoardInfo,
    BoardStats,
    Commit,
    Completed,
    Completion,
    Condition,
    Contract,
    ContractDraft,
    ContractFilter,
    Evidence,
    FileClaim,
    IdempotencyKey,
    OnExpiry,
    Page,
    PageRequest,
    Phase,
    PhaseChange,
    PhaseState,
    Revised,
    Session,
    Snapshot,
)

MAX_PAGE_BYTES = 3 * 2**20
"""Bytes of text in a page of a list; with its framing it stays under gRPC's limit of 4 MiB."""

CaughtUp = Callable[[], Awaitable[None]]
"""Returns when all calls that had arrived before it was called have been read."""


class Follower(Protocol):
    """Receives the commits of a board. Called on the event loop; must not block."""

    @property
    def needed(self) -> bool:
        """Whether the board must stay open for this follower. If not, the store may end it."""
        ...

    def committed(self, commit: Commit) -> None:
        """Process the next commit. Every revision comes once, in order."""
        ...

    def ended(self, error: BoardError) -> None:
        """No more commits will come. `error` is BoardReplaced or ShuttingDown.

        It is StoreUnavailable if the idle board was closed, or after an internal error; then
        another follower may follow the board at once.
        """
        ...


class Store(Protocol):
    """Any number of boards, independent of each other.

    Arguments are valid: `wire` has checked them. A method that writes returns once its
    effect is committed and synced; every read that begins after that sees the effect.
    Each call that changes something is one transaction with one reading of the clock, and
    makes one revision of its board, one higher than the last. A call that changes nothing
    makes no revision and returns the current one. A call that raises has changed nothing.
    Every change is an event of its revision, kept for `list_events` and sent to followers.

    Every method but `list_boards`, `open_board` and `close` raises BoardNotFound for a
    board that was never opened. All may raise StoreUnavailable and ShuttingDown, and those
    that write StoreFull. Those that take a session ID ("" for none) raise SessionExpired if
    no such session is open.

    A write may have an idempotency key (None for none), which makes it safe to repeat. The
    outcome of a call with a key is remembered, in the transaction of its change and on disk
    before the call returns: its value and revision, even if it changed nothing, or its
    FileAlreadyClaimed, StateMismatch, RevisionMismatch, SessionExpired or BoardReplaced. A
    call whose key is remembered is not done again; it returns or raises the remembered
    outcome. If the remembered key has another method or payload the call raises
    InvalidArgument, which names `board-request-id`. Other errors are not remembered, nor are
    calls without a key. A store remembers outcomes up to a number of bytes that it chooses,
    and forgets the oldest first, in the order in which the calls ended. Of a
    FileAlreadyClaimed it may remember only the first 100 conflicts.
    """

    async def open_board(self, board: str) -> BoardInfo:
        """Create the board unless it exists, and return it. Idempotent."""
        ...

    async def get_board(self, board: str) -> BoardInfo:
        """Return a board, with the revision that other reads see now."""
        ...

    async def list_boards(
        self, page: PageRequest, among: Collection[str] | None = None
    ) -> Page[BoardInfo]:
        """List the boards in the byte order of their names. The page's revision is 0.

        A change that another program makes to the storage may take a second to appear. With
        `among`, only boards of these names are listed; the page shows nothing of others.
        """
        ...

    async def set_phase_state(
        self, board: str, change: PhaseChange, key: IdempotencyKey | None = None
    ) -> Revised[Phase]:
        """Create or update a phase, and return it as it is now.

        This is always a change, even to the same state: `updated_at` moves, never back;
        `posted_at` stays. Raises StateMismatch if the phase is not in
        `change.expected_state`, or if it exists and that is UNSPECIFIED.
        """
        ...

    async def get_phase_state(self, board: str, phase_id: str) -> Phase | None:
        """Return a phase, or None if there is no such phase."""
        ...

    async def list_phases(
        self, board: str, states: Sequence[PhaseState], page: PageRequest
    ) -> Page[Phase]:
        """List the phases that are in one of the states, or all phases if `states` is empty.

        They are ordered by `posted_at`, then by the bytes of `phase_id`.
        """
        ...

    async def publish_contract(
        self,
        board: str,
        contract: ContractDraft,
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[Contract]:
        """Create or replace the contract with this producer, kind and name.

        `id` and `created_at` stay. Publishing an equal contract changes nothing.
        """
        ...

    async def publish_contracts(
        self,
        board: str,
        contracts: Sequence[ContractDraft],
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[int]:
        """Publish all the contracts or none. Of contracts with the same key the last one wins.

        Returns the number of distinct contracts in the batch, changed or not.
        """
        ...

    async def list_contracts(
        self, board: str, where: ContractFilter, page: PageRequest
    ) -> Page[Contract]:
        """List the contracts that match, ordered by `id`.

        A page ends early if its text would exceed about 3 MiB.
        """
        ...

    async def claim_file(
        self,
        board: str,
        filepath: str,
        owner: str,
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[FileClaim]:
        """Claim the file for the owner. If the owner has claimed it already, nothing changes.

        With a session the claim is bound to the session, also a claim that the owner has
        already; binding it is a change. Raises FileAlreadyClaimed if another phase has
        claimed the file.
        """
        ...

    async def claim_files(
        self,
        board: str,
        filepaths: Sequence[str],
        owner: str,
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[list[FileClaim]]:
        """Claim all the files for the owner or none, each as claim_file does.

        Returns a claim for each path, in the same order. Raises FileAlreadyClaimed with
        every claim of another phase.
        """
        ...

    async def release_claims(
        self, board: str, owner: str, filepaths: Sequence[str], key: IdempotencyKey | None = None
    ) -> Revised[int]:
        """Release the owner's claims on the files, or all its claims if `filepaths` is empty.

        Files that the owner has not claimed are ignored. Returns how many claims were released.
        """
        ...

    async def get_file_owner(self, board: str, filepath: str) -> str:
        """Return the phase that has claimed the file, "" if none has."""
        ...

    async def list_claims(
        self, board: str, owner: str | None, page: PageRequest
    ) -> Page[FileClaim]:
        """List the claims of one owner, or of all (None), in the byte order of their paths."""
        ...

    async def complete_phase(
        self, board: str, completion: Completion, key: IdempotencyKey | None = None
    ) -> Revised[Completed]:
        """Publish the contracts, set the state and release all the phase's claims, atomically."""
        ...

    async def get_snapshot(self, board: str) -> Snapshot:
        """Return the whole board at one revision."""
        ...

    async def snapshot_size(self, board: str) -> int:
        """Return about how many bytes a snapshot has on the wire, and not less.

        This is far cheaper than making the snapshot.
        """
        ...

    async def find(self, board: str, conditions: Sequence[Condition]) -> Revised[list[Evidence]]:
        """Return what meets each of the conditions, all at one revision."""
        ...

    async def open_session(
        self,
        board: str,
        worker: str,
        ttl: timedelta,
        on_expiry: OnExpiry,
        key: IdempotencyKey | None = None,
    ) -> Revised[Session]:
        """Open a session, which ends when it is closed or expires `ttl` after its last renewal.

        Time is measured by a monotonic clock. When a board is opened again, each of its
        sessions gets its full ttl. When a session ends, in one transaction its claims are
        released, and its phases that are still RUNNING become FAILED, or QUEUED without a
        worker, as `on_expiry` says. A session never expires early, and at most a second late,
        or a second after what `expire_after` waits for.
        """
        ...

    def expire_after(self, caught_up: CaughtUp) -> None:
        """Await `caught_up` when a session's ttl is over; expire it only after that has returned.

        `caught_up` returns when all calls that had arrived before it was called have been read. A
        session that one of them renews does not expire. Without `expire_after` a session expires
        as soon as its ttl is over.
        """
        ...

    async def renew_session(self, board: str, session_id: str) -> Revised[Session]:
        """Renew the session: its full ttl starts again. Makes no revision."""
        ...

    async def close_session(
        self, board: str, session_id: str, key: IdempotencyKey | None = None
    ) -> Revised[int]:
        """End the session; return how many claims were released."""
        ...

    async def get_session(self, board: str, session_id: str) -> Session | None:
        """Return a session, or None if no such session is open."""
        ...

    async def list_sessions(self, board: str, page: PageRequest) -> Page[Session]:
        """List the open sessions, ordered by the bytes of their IDs."""
        ...

    async def archive_board(
        self, board: str, revision: int, board_id: str = "", key: IdempotencyKey | None = None
    ) -> Revised[Archived]:
        """Remove every phase, contract and claim, if the board is at this revision.

        Each removal is an event with the cause ARCHIVE; sessions stay open. Archiving an empty
        board changes nothing. Raises BoardReplaced if the board's ID is not `board_id` ("" for
        any), and RevisionMismatch if the board is at another revision.
        """
        ...

    async def follow(self, board: str, follower: Follower) -> BoardInfo:
        """Pass every commit after the returned revision to the follower.

        The follower receives a commit before the call that made it returns. It follows the
        board until `ended` is called.
        """
        ...

    async def list_events(self, board: str, after: int, upto: int) -> list[Commit]:
        """List the commits with after < revision <= upto, in order.

        The list ends early if its text would exceed about 3 MiB, but has at least one commit
        unless there are none. Raises RevisionCompacted if events after `after` are compacted.
        """
        ...

    async def stats(self) -> list[BoardStats]:
        """Return counts of each open board at one revision, without boards that cannot be read."""
        ...

    async def close(self) -> None:
        """End the calls in progress, refuse new ones and close all files. Idempotent."""
        ...
