"""What a board holds, as the server sees it, free of protobuf and of any database."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class PhaseState(StrEnum):
    """Where a phase stands; the values are the words in the database."""

    UNSPECIFIED = ""
    """A word in the database that this version does not know. Never written."""
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
    """A word in the database that this version does not know. Never written."""
    TYPE = "type"
    FUNCTION = "function"
    INTERFACE = "interface"
    METHOD = "method"
    PACKAGE = "package"
    FILE = "file"


class ContractStatus(StrEnum):
    """How far a contract can be relied on."""

    UNSPECIFIED = ""
    """A word in the database that this version does not know. Never written."""
    FULFILLED = "fulfilled"
    DISPUTED = "disputed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """One board: its name, an ID that no later board of that name has, its revision."""

    name: str
    board_id: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Phase:
    """A unit of work. Times are UTC with microseconds."""

    phase_id: str
    state: PhaseState
    worker: str
    posted_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class PhaseChange:
    """A write to one phase.

    A `worker` of None keeps the current one. An `expected_state` makes it compare-and-set.
    """

    phase_id: str
    state: PhaseState
    worker: str | None = None
    expected_state: PhaseState | None = None


@dataclass(frozen=True, slots=True)
class ContractDraft:
    """A contract as its producer offers it: all but what the board gives."""

    producer: str
    kind: ContractKind
    name: str
    signature: str
    package: str
    status: ContractStatus = ContractStatus.FULFILLED

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two drafts the same contract: producer, kind and name."""
        return self.producer, self.kind.value, self.name


@dataclass(frozen=True, slots=True)
class Contract:
    """A published contract. `id` and `created_at` are from its first publication."""

    id: int
    producer: str
    kind: ContractKind
    name: str
    signature: str
    package: str
    status: ContractStatus
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ContractFilter:
    """Which contracts to list: those that equal every field that is not None."""

    producer: str | None = None
    kind: ContractKind | None = None
    name: str | None = None
    package: str | None = None
    status: ContractStatus | None = None


@dataclass(frozen=True, slots=True)
class FileClaim:
    """The right of one phase to edit one file."""

    filepath: str
    owner: str
    claimed_at: datetime


class Revised(NamedTuple, Generic[T]):
    """A value, and the revision of the board that it was made or read at."""

    value: T
    revision: int


@dataclass(frozen=True, slots=True)
class PageRequest:
    """At most `size` items, those after the cursor of the page before.

    The cursor is the store's own; None asks for the first page.
    """

    size: int
    after: tuple[str | int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in order, the board's revision they were read at, and where to go on.

    `next` is the cursor of the following page, None at the end. A page may hold
    fewer items than asked for, even none, and still have a next one.
    """

    items: list[T]
    revision: int
    next: tuple[str | int, ...] | None
