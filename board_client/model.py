"""What the board's answers are made of: small frozen records, and the words they use.

The words are strings too: `phase.state == "done"` holds as `PhaseState.DONE` does,
and every method takes either.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class PhaseState(StrEnum):
    """Where a phase stands. UNSPECIFIED is a state that this client does not know."""

    UNSPECIFIED = ""
    QUEUED = "queued"
    POLLING = "polling"
    RUNNING = "running"
    BLOCKED = "blocked"
    DONE = "done"
    FAILED = "failed"
    HUMAN_DECISION = "human_decision"
    DECOMPOSED = "decomposed"


class ContractKind(StrEnum):
    """What sort of code artifact a contract describes."""

    UNSPECIFIED = ""
    TYPE = "type"
    FUNCTION = "function"
    INTERFACE = "interface"
    METHOD = "method"
    PACKAGE = "package"
    FILE = "file"


class ContractStatus(StrEnum):
    """How far a contract can be relied on. To publish UNSPECIFIED means FULFILLED."""

    UNSPECIFIED = ""
    FULFILLED = "fulfilled"
    DISPUTED = "disputed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """One board. `revision` counts its changes; `created_at` is UTC."""

    name: str
    board_id: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Phase:
    """A unit of work, who has it, and when it was first and last set (UTC)."""

    phase_id: str
    state: PhaseState
    worker: str
    posted_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Contract:
    """An interface artifact that a phase leaves for those that depend on it.

    `id` and `created_at` (UTC) are given by the board; leave them out to publish.
    """

    producer: str
    kind: ContractKind | str
    name: str
    signature: str = ""
    package: str = ""
    status: ContractStatus | str = ContractStatus.FULFILLED
    id: int = 0
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileClaim:
    """The right of one phase to edit one file, and since when (UTC)."""

    filepath: str
    owner: str
    claimed_at: datetime
