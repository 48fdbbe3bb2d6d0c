"""What a board holds, as the server sees it, free of protobuf and of any database."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

_BOARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_board_name(name: str) -> bool:
    """Tell whether a board may have this name."""
    return _BOARD_NAME.fullmatch(name) is not None


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


class OnExpiry(StrEnum):
    """What becomes of a session's running phases when it ends."""

    FAIL = "fail"
    REQUEUE = "requeue"


class Change(StrEnum):
    """What an event says has happened to its record."""

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
    """One board: its name, an ID that no later board of that name has, its revision."""

    name: str
    board_id: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BoardStats:
    """How one board stands, for its operator: counts, and bytes of its write-ahead log."""

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
    """Who follows one board: how many, and how far the slowest watcher is behind."""

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

    A `worker` of None keeps the current one. An `expected_state` makes it
    compare-and-set; UNSPECIFIED expects that there is no such phase. RUNNING
    with a session binds the phase to it; any other write ends the bond.
    """

    phase_id: str
    state: PhaseState
    worker: str | None = None
    expected_state: PhaseState | None = None
    session_id: str = ""


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
        return self.producer, self.kind, self.name


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
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A worker's sign of life: it ends unless it is renewed within `ttl`."""

    session_id: str
    worker: str
    ttl: timedelta
    expires_at: datetime
    on_expiry: OnExpiry


@dataclass(frozen=True, slots=True)
class Completion:
    """What CompletePhase does to one phase, in one transaction."""

    phase_id: str
    state: PhaseState
    contracts: Sequence[ContractDraft]
    session_id: str = ""


class Completed(NamedTuple):
    """What a completion did: the phase, and how many contracts and claims it touched."""

    phase: Phase
    published: int
    released: int


class Archived(NamedTuple):
    """How many phases, contracts and claims an archived board has lost."""

    phases: int
    contracts: int
    claims: int


Record = Phase | Contract | FileClaim | Session


@dataclass(frozen=True, slots=True)
class Event:
    """One change, with the whole record as it then was.

    What was released or removed is told as it had been, a removed contract
    without its signature, which may be large.
    """

    change: Change
    cause: Cause
    record: Record


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction changed: the events of one revision, in order."""

    revision: int
    time: datetime
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole board at one revision, in the order of the lists."""

    board_id: str
    revision: int
    phases: list[Phase]
    contracts: list[Contract]
    claims: list[FileClaim]
    sessions: list[Session]


@dataclass(frozen=True, slots=True)
class PhaseCondition:
    """Holds while the phase is in one of the states."""

    phase_id: str
    states: frozenset[PhaseState]


@dataclass(frozen=True, slots=True)
class ContractCondition:
    """Holds once a contract is published that equals every field that is not None."""

    producer: str | None
    kind: ContractKind | None
    name: str | None
    package: str | None


@dataclass(frozen=True, slots=True)
class FileCondition:
    """Holds while no phase has claimed the file."""

    filepath: str


Condition = PhaseCondition | ContractCondition | FileCondition

Evidence = Phase | Contract | FileCondition | None
"""What meets a condition: the phase, the contract with the lowest id, or for a
free file the condition itself; None while nothing does."""


class Revised(NamedTuple, Generic[T]):
    """A value, and the revision of the board that it was made or read at."""

    value: T
    revision: int


class IdempotencyKey(NamedTuple):
    """What makes a repeated write be done once.

    `id` is the caller's own for this call, no other caller's or call's; `method` and
    `payload`, a digest of the request, tell the call from others that bear its ID.
    """

    id: str
    method: str
    payload: bytes


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
