"""The records of a board and the arguments of a Store; independent of protobuf and SQLite."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

_BOARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_board_name(name: str) -> bool:
    """Return whether this is a valid board name."""
    return _BOARD_NAME.fullmatch(name) is not None


class PhaseState(StrEnum):
    """The state of a phase. The values are those in the database."""

    UNSPECIFIED = ""
    """A value in the database that this version does not know. Never written."""
    QUEUED = "queued"
    POLLING = "polling"
    RUNNING = "running"
    BLOCKED = "blocked"
    DONE = "done"
    FAILED = "failed"
    HUMAN_DECISION = "human_decision"
    DECOMPOSED = "decomposed"


class ContractKind(StrEnum):
    """The kind of code artifact that a contract describes."""

    UNSPECIFIED = ""
    """A value in the database that this version does not know. Never written."""
    TYPE = "type"
    FUNCTION = "function"
    INTERFACE = "interface"
    METHOD = "method"
    PACKAGE = "package"
    FILE = "file"


class ContractStatus(StrEnum):
    """How far a contract can be relied on."""

    UNSPECIFIED = ""
    """A value in the database that this version does not know. Never written."""
    FULFILLED = "fulfilled"
    DISPUTED = "disputed"
    PENDING = "pending"


class OnExpiry(StrEnum):
    """What happens to a session's running phases when it expires or is closed."""

    FAIL = "fail"
    REQUEUE = "requeue"


class Change(StrEnum):
    """What happened to the record of an event."""

    PHASE = "phase"
    CONTRACT = "contract"
    CLAIMED = "claimed"
    RELEASED = "released"
    SESSION_OPENED = "session_opened"
    SESSION_ENDED = "session_ended"
    PHASE_REMOVED = "phase_removed"
    CONTRACT_REMOVED = "contract_removed"


class Cause(StrEnum):
    """Why something changed."""

    CALL = "call"
    SESSION_EXPIRED = "session_expired"
    SESSION_CLOSED = "session_closed"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """A board: its name, its ID, its revision. No later board of the same name has the same ID."""

    name: str
    board_id: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BoardStats:
    """Counts of one board's records for its operator, and the bytes of its write-ahead log."""

    board: str
    revision: int
    phases: int
    contracts: int
    claims: int
    sessions: int
    writer_queue: int
    wal_bytes: int


@dataclass(frozen=True, slots=True)
class Following:
    """How many calls watch and wait on one board, and how far the slowest watch is behind."""

    board: str
    watchers: int
    waiters: int
    revisions_behind: int
    bytes_behind: int


@dataclass(frozen=True, slots=True)
class Phase:
    """A unit of work. Times are UTC with microseconds."""

    phase_id: str
    state: PhaseState
    worker: str
    posted_at: datetime
    updated_at: datetime
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class PhaseChange:
    """A write to one phase.

    A `worker` of None keeps the current one. With an `expected_state` the write is a
    compare-and-set; UNSPECIFIED expects that there is no such phase. RUNNING with a
    session binds the phase to the session; any other write unbinds it.
    """

    phase_id: str
    state: PhaseState
    worker: str | None = None
    expected_state: PhaseState | None = None
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class ContractDraft:
    """A contract to publish: all fields but those that the board sets."""

    producer: str
    kind: ContractKind
    name: str
    signature: str
    package: str
    status: ContractStatus = ContractStatus.FULFILLED

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the contract: producer, kind and name."""
        return self.producer, self.kind, self.name


@dataclass(frozen=True, slots=True)
class Contract:
    """A published contract. `id` and `created_at` are those of its first publication."""

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
    """Selects the contracts that equal every field that is not None."""

    producer: str | None = None
    kind: ContractKind | None = None
    name: str | None = None
    package: str | None = None
    status: ContractStatus | None = None


@dataclass(frozen=True, slots=True)
class FileClaim:
    """The exclusive right of one phase to edit one file."""

    filepath: str
    owner: str
    claimed_at: datetime
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A worker's lease: it expires unless it is renewed within `ttl`."""

    session_id: str
    worker: str
    ttl: timedelta
    expires_at: datetime
    on_expiry: OnExpiry


@dataclass(frozen=True, slots=True)
class Completion:
    """The arguments of Store.complete_phase."""

    phase_id: str
    state: PhaseState
    contracts: Sequence[ContractDraft]
    session_id: str = ""


class Completed(NamedTuple):
    """The completed phase, and how many contracts were published and claims released."""

    phase: Phase
    published: int
    released: int


class Archived(NamedTuple):
    """How many phases, contracts and claims were removed from an archived board."""

    phases: int
    contracts: int
    claims: int


Record = Phase | Contract | FileClaim | Session


@dataclass(frozen=True, slots=True)
class Event:
    """One change, with the whole record after it.

    The record of a claim that was released, or of something removed, is as it was before; a
    removed contract has no signature, which may be large.
    """

    change: Change
    cause: Cause
    record: Record


@dataclass(frozen=True, slots=True)
class Commit:
    """The changes of one transaction: the events of one revision, in order."""

    revision: int
    time: datetime
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole board at one revision; each list is in the order of its RPC."""

    board_id: str
    revision: int
    phases: list[Phase]
    contracts: list[Contract]
    claims: list[FileClaim]
    sessions: list[Session]


@dataclass(frozen=True, slots=True)
class PhaseCondition:
    """Is met while the phase is in one of the states."""

    phase_id: str
    states: frozenset[PhaseState]


@dataclass(frozen=True, slots=True)
class ContractCondition:
    """Is met while a contract equals every field that is not None."""

    producer: str | None
    kind: ContractKind | None
    name: str | None
    package: str | None


@dataclass(frozen=True, slots=True)
class FileCondition:
    """Is met while no phase has claimed the file."""

    filepath: str


Condition = PhaseCondition | ContractCondition | FileCondition

Evidence = Phase | Contract | FileCondition | None
"""What meets a condition: the phase, the contract with the lowest `id`, or for an unclaimed file
the condition itself. None if the condition is not met."""


class Revised(NamedTuple, Generic[T]):
    """A value, and the revision of the board at which it was written or read."""

    value: T
    revision: int


class IdempotencyKey(NamedTuple):
    """Makes a repeated write take effect only once.

    `id` is unique among the calls of all principals. `method` and `payload`, a digest of the
    request, show whether another call was given the same ID by mistake.
    """

    id: str
    method: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Asks for at most `size` items after a cursor.

    The cursor is the `next` of the previous page; None asks for the first page.
    """

    size: int
    after: tuple[str | int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in order, and the board's revision at which they were read.

    `next` is the cursor of the next page, None on the last page. A page may have fewer items
    than asked for, even none, and still not be the last.
    """

    items: list[T]
    revision: int
    next: tuple[str | int, ...] | None
