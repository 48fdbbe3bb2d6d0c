"""Store: what every backend promises. These docstrings are the contract, backends add none.

`tests/conformance` holds each backend to them.
"""

from collections.abc import Sequence
from typing import Protocol

from board_server.model import (
    BoardInfo,
    Contract,
    ContractDraft,
    ContractFilter,
    FileClaim,
    Page,
    PageRequest,
    Phase,
    PhaseChange,
    PhaseState,
    Revised,
)


class Store(Protocol):
    """Any number of boards that never mix.

    Arguments are valid: `convert` has checked them. A method that writes
    returns once its effect is committed and synced, and whoever reads after
    that sees it. Each call that changes something is one transaction, with one
    clock reading, and one revision of its board, one higher than the last; a
    call that changes nothing makes no revision and returns the current one.
    A call that raises has changed nothing.

    Every method but `list_boards`, `open_board` and `close` raises
    BoardNotFound for a board that nobody has opened. All may raise
    StoreUnavailable, ShuttingDown, and those that write StoreFull.
    """

    async def open_board(self, board: str) -> BoardInfo:
        """Create the board if it is absent, and tell about it. Idempotent."""
        ...

    async def list_boards(self, page: PageRequest) -> Page[BoardInfo]:
        """Read the boards in the byte order of their names. The page's revision is 0."""
        ...

    async def set_phase_state(self, board: str, change: PhaseChange) -> Revised[Phase]:
        """Create or update one phase, and return it as it now is.

        Always a change, even to an equal state: `updated_at` moves and never
        goes back; `posted_at` stays. Raises StateMismatch when the phase is not
        in `change.expected_state`.
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

    async def publish_contract(self, board: str, contract: ContractDraft) -> Revised[Contract]:
        """Create or replace the contract with this producer, kind and name.

        `id` and `created_at` stay. An equal contract changes nothing.
        """
        ...

    async def publish_contracts(
        self, board: str, contracts: Sequence[ContractDraft]
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

    async def claim_file(self, board: str, filepath: str, owner: str) -> Revised[FileClaim]:
        """Give the file to the owner; if it already has it, that changes nothing.

        Raises FileAlreadyClaimed when another phase has it.
        """
        ...

    async def release_claims(
        self, board: str, owner: str, filepaths: Sequence[str]
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

    async def close(self) -> None:
        """End what is under way, refuse what comes after, and let go of all files. Idempotent."""
        ...
