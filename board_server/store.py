"""Store: what every backend promises. These docstrings are the contract, backends add none.

`tests/conformance` holds each backend to them.
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
"""Returns once all calls are read that had arrived when it was called."""


class Follower(Protocol):
    """Whom a store tells what happens on a board. Called on the event loop; must not block."""

    @property
    def needed(self) -> bool:
        """Whether anybody waits for what it is told; where nobody does, it may be ended."""
        ...

    def committed(self, commit: Commit) -> None:
        """Take the next commit; revisions come in order, each once."""
        ...

    def ended(self, error: BoardError) -> None:
        """Take note that no commit comes any more: BoardReplaced or ShuttingDown.

        StoreUnavailable, where the board is closed because nobody needs it, or after an
        internal error: who is needed next follows anew.
        """
        ...


class Store(Protocol):
    """Any number of boards that never mix.

    Arguments are valid: `convert` has checked them. A method that writes
    returns once its effect is committed and synced, and whoever reads after
    that sees it. Each call that changes something is one transaction, with one
    clock reading, and one revision of its board, one higher than the last; a
    call that changes nothing makes no revision and returns the current one.
    A call that raises has changed nothing. Every change is an event of its
    revision, kept for `list_events` and told to followers.

    Every method but `list_boards`, `open_board` and `close` raises
    BoardNotFound for a board that nobody has opened. All may raise
    StoreUnavailable, ShuttingDown, and those that write StoreFull; those that
    take a session's ID ("" for none), SessionExpired if no such session lives.

    A `key` (None for none) stands for one call, and makes it safe to repeat. The
    outcome of a call with a key is remembered, on disk before it is answered and in the
    transaction of its change: its value and revision, whether or not it changed
    anything, and FileAlreadyClaimed, StateMismatch, RevisionMismatch, SessionExpired and
    BoardReplaced. A call whose key is remembered is not done, and ends as that call did.
    If the method or payload of its key is another it raises InvalidArgument, which
    names `board-request-id`. No other error is remembered, nor is a call without a key.
    A store remembers the last calls up to a bound in bytes of its own, in the order in
    which they ended, and forgets the oldest first. Of a FileAlreadyClaimed it may
    remember the first 100 conflicts only.
    """

    async def open_board(self, board: str) -> BoardInfo:
        """Create the board if it is absent, and tell about it. Idempotent."""
        ...

    async def get_board(self, board: str) -> BoardInfo:
        """Tell about a board, with the revision that other reads see now."""
        ...

    async def list_boards(
        self, page: PageRequest, among: Collection[str] | None = None
    ) -> Page[BoardInfo]:
        """Read the boards in the byte order of their names. The page's revision is 0.

        What another program does to the boards' storage may show up to a second later.
        With `among`, only boards of these names, and nothing tells of others.
        """
        ...

    async def set_phase_state(
        self, board: str, change: PhaseChange, key: IdempotencyKey | None = None
    ) -> Revised[Phase]:
        """Create or update one phase, and return it as it now is.

        Always a change, even to an equal state: `updated_at` moves and never
        goes back; `posted_at` stays. Raises StateMismatch when the phase is not
        in `change.expected_state`, or exists where that is UNSPECIFIED.
        """
        ...

    async def get_phase_state(self, board: str, phase_id: str) -> Phase | None:
        """Read one phase, None when there is none."""
        ...

    async def list_phases(
        self, board: str, states: Sequence[PhaseState], page: PageRequest
    ) -> Page[Phase]:
        """Read the phases that are in one of the states, or all when no state is named.

        Ordered by posted_at, then by the bytes of phase_id.
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

        `id` and `created_at` stay. An equal contract changes nothing.
        """
        ...

    async def publish_contracts(
        self,
        board: str,
        contracts: Sequence[ContractDraft],
        session_id: str = "",
        key: IdempotencyKey | None = None,
    ) -> Revised[int]:
        """Publish a batch, all or none; of equal keys the last one wins.

        Returns how many distinct contracts the batch held, changed or not.
        """
        ...

    async def list_contracts(
        self, board: str, where: ContractFilter, page: PageRequest
    ) -> Page[Contract]:
        """Read the contracts that match, ordered by id.

        A page ends early rather than hold more than some 3 MiB of text.
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
        """Give the file to the owner; if it already has it, that changes nothing.

        With a session the claim is bound to it, an older one of the owner's too,
        which is a change where it was not. Raises FileAlreadyClaimed when
        another phase has the file.
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
        """Give all the files to the owner, or none, each as claim_file does.

        Returns a claim for each path, in that order. Raises FileAlreadyClaimed
        with every file that another phase has.
        """
        ...

    async def release_claims(
        self, board: str, owner: str, filepaths: Sequence[str], key: IdempotencyKey | None = None
    ) -> Revised[int]:
        """Free those of the files that the owner holds, or all it holds when none is named.

        Returns how many became free.
        """
        ...

    async def get_file_owner(self, board: str, filepath: str) -> str:
        """Tell which phase has the file, "" when none has."""
        ...

    async def list_claims(
        self, board: str, owner: str | None, page: PageRequest
    ) -> Page[FileClaim]:
        """Read the claims of one owner, or of all, in the byte order of their paths."""
        ...

    async def complete_phase(
        self, board: str, completion: Completion, key: IdempotencyKey | None = None
    ) -> Revised[Completed]:
        """Publish the contracts, set the state, release all the phase's claims; all or none."""
        ...

    async def get_snapshot(self, board: str) -> Snapshot:
        """Read everything at one revision."""
        ...

    async def find(self, board: str, conditions: Sequence[Condition]) -> Revised[list[Evidence]]:
        """Read, at one revision, what meets each of the conditions."""
        ...

    async def open_session(
        self,
        board: str,
        worker: str,
        ttl: timedelta,
        on_expiry: OnExpiry,
        key: IdempotencyKey | None = None,
    ) -> Revised[Session]:
        """Start a session that ends when it is closed, or `ttl` after its last renewal.

        Time is counted by a clock that does not jump; a store that opens again
        gives each session its full ttl. At its end, in one transaction, its
        claims are released, and those of its phases that are still RUNNING
        become FAILED, or QUEUED and without a worker, as `on_expiry` says. It
        never ends early, and within a second of its time, or of what
        `expire_after` waits for.
        """
        ...

    def expire_after(self, caught_up: CaughtUp) -> None:
        """Let no session end before `caught_up`, awaited when its time is up, has returned.

        It returns once all calls are read that had arrived when it was called. A session that
        one of them renews lives on. Without this a session ends when its time is up.
        """
        ...

    async def renew_session(self, board: str, session_id: str) -> Revised[Session]:
        """Give the session its full ttl again. Makes no revision."""
        ...

    async def close_session(
        self, board: str, session_id: str, key: IdempotencyKey | None = None
    ) -> Revised[int]:
        """End the session now; return how many claims that released."""
        ...

    async def get_session(self, board: str, session_id: str) -> Session | None:
        """Read one session, None when it does not live."""
        ...

    async def list_sessions(self, board: str, page: PageRequest) -> Page[Session]:
        """Read the sessions that live, ordered by the bytes of their IDs."""
        ...

    async def archive_board(
        self, board: str, revision: int, board_id: str = "", key: IdempotencyKey | None = None
    ) -> Revised[Archived]:
        """Remove every phase, contract and claim, if the board is at this revision.

        Each is an event with the cause ARCHIVE; sessions live on. An empty
        board stays as it is. Raises BoardReplaced when the board has another ID than
        `board_id` ("" for any), RevisionMismatch when it has changed since.
        """
        ...

    async def follow(self, board: str, follower: Follower) -> BoardInfo:
        """Tell the follower of every commit after the revision that this returns.

        A commit is told before the call that made it returns. A follower stays
        for the life of the board.
        """
        ...

    async def list_events(self, board: str, after: int, upto: int) -> list[Commit]:
        """Read the commits with after < revision <= upto, in order.

        The list ends early rather than hold more than some 3 MiB of text, but
        holds at least one commit; it is empty only at the end. Raises
        RevisionCompacted when not all after `after` are kept.
        """
        ...

    async def stats(self) -> list[BoardStats]:
        """Tell how the open boards stand, each at one revision; one that cannot is left out."""
        ...

    async def close(self) -> None:
        """End what is under way, refuse what comes after, and let go of all files. Idempotent."""
        ...
