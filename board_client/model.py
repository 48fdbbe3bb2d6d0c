"""What the board's answers are made of: small frozen records, and the words they use.

The words are strings too: `phase.state == "done"` holds as `PhaseState.DONE` does,
and every method takes either.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from os import PathLike


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


class OnExpiry(StrEnum):
    """What becomes of a session's running phases when it ends. UNSPECIFIED means FAIL."""

    UNSPECIFIED = ""
    FAIL = "fail"
    REQUEUE = "requeue"


class EventKind(StrEnum):
    """A group of events, to watch only those."""

    PHASE = "phase"
    CONTRACT = "contract"
    CLAIM = "claim"
    SESSION = "session"


class Change(StrEnum):
    """What an event says has happened to its record."""

    UNSPECIFIED = ""
    PHASE = "phase"
    CONTRACT = "contract"
    CLAIMED = "claimed"
    RELEASED = "released"
    SESSION_OPENED = "session_opened"
    SESSION_ENDED = "session_ended"
    PHASE_REMOVED = "phase_removed"
    CONTRACT_REMOVED = "contract_removed"


class EventCause(StrEnum):
    """Why something changed."""

    UNSPECIFIED = ""
    CALL = "call"
    SESSION_EXPIRED = "session_expired"
    SESSION_CLOSED = "session_closed"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """One board. `revision` counts its changes; `created_at` is UTC."""

    name: str
    board_id: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Phase:
    """A unit of work, who has it, and when it was first and last set (UTC).

    `session_id` is the session that it is bound to, "" for none.
    """

    phase_id: str
    state: PhaseState
    worker: str
    posted_at: datetime
    updated_at: datetime
    session_id: str = ""


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
    """The right of one phase to edit one file, and since when (UTC).

    `session_id` is the session that it is bound to, "" for none.
    """

    filepath: str
    owner: str
    claimed_at: datetime
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A worker's sign of life: it ends at `expires_at` (UTC) unless it is renewed."""

    session_id: str
    worker: str
    ttl: timedelta
    expires_at: datetime
    on_expiry: OnExpiry


Record = Phase | Contract | FileClaim | Session


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the board: when (UTC), why, what, and the whole record as it then was.

    All events of one call have its revision. What was released or removed is
    told as it had been, a removed contract without its signature.
    """

    revision: int
    time: datetime
    cause: EventCause
    change: Change
    record: Record | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole board at one revision, each list in the order of its list method."""

    revision: int
    board_id: str
    phases: list[Phase]
    contracts: list[Contract]
    claims: list[FileClaim]
    sessions: list[Session]


@dataclass(frozen=True, slots=True)
class Completion:
    """What complete_phase did: the phase, and how many contracts and claims it touched."""

    phase: Phase
    published: int
    released: int


@dataclass(frozen=True, slots=True)
class Archived:
    """How many phases, contracts and claims a board has lost when it was archived."""

    phases: int
    contracts: int
    claims: int


@dataclass(frozen=True, slots=True)
class PhaseIn:
    """To wait for: the phase is in one of the states."""

    phase_id: str
    states: tuple[PhaseState | str, ...]

    def __init__(self, phase_id: str, *states: PhaseState | str) -> None:
        object.__setattr__(self, "phase_id", phase_id)
        object.__setattr__(self, "states", states)


@dataclass(frozen=True, slots=True)
class ContractPublished:
    """To wait for: a contract is published that equals every field given, whatever its status."""

    name: str = ""
    kind: ContractKind | str = ""
    producer: str = ""
    package: str = ""


@dataclass(frozen=True, slots=True)
class FileFree:
    """To wait for: no phase has claimed the file."""

    filepath: str | PathLike[str]


Condition = PhaseIn | ContractPublished | FileFree


@dataclass(frozen=True, slots=True)
class Met:
    """What met the conditions that were waited for, and the revision at which they all held."""

    revision: int
    phases: list[Phase]
    contracts: list[Contract]
