"""The records that calls return, and their enums.

The enums are strings too: `phase.state == "done"` holds where the state is
`PhaseState.DONE`, and every method takes either. `PhaseStateLike` and the other
types of that name say so to a type checker.
"""

from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from os import PathLike, fspath
from typing import Literal


class PhaseState(StrEnum):
    """State of a phase. UNSPECIFIED is a state that this client does not know."""

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
    """Kind of the code artifact that a contract describes."""

    UNSPECIFIED = ""
    TYPE = "type"
    FUNCTION = "function"
    INTERFACE = "interface"
    METHOD = "method"
    PACKAGE = "package"
    FILE = "file"


class ContractStatus(StrEnum):
    """Whether a contract can be relied on. To publish UNSPECIFIED means FULFILLED."""

    UNSPECIFIED = ""
    FULFILLED = "fulfilled"
    DISPUTED = "disputed"
    PENDING = "pending"


class OnExpiry(StrEnum):
    """What happens to a session's running phases when it ends. UNSPECIFIED means FAIL."""

    UNSPECIFIED = ""
    FAIL = "fail"
    REQUEUE = "requeue"


class EventKind(StrEnum):
    """Group of events, to watch only those."""

    PHASE = "phase"
    CONTRACT = "contract"
    CLAIM = "claim"
    SESSION = "session"


class Change(StrEnum):
    """What happened to an event's record."""

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
    """Why a record changed."""

    UNSPECIFIED = ""
    CALL = "call"
    SESSION_EXPIRED = "session_expired"
    SESSION_CLOSED = "session_closed"
    ARCHIVE = "archive"


PhaseStateLike = (
    PhaseState
    | Literal[
        "queued",
        "polling",
        "running",
        "blocked",
        "done",
        "failed",
        "human_decision",
        "decomposed",
    ]
)
"""A phase's state, as the enum or its word."""

ContractKindLike = (
    ContractKind | Literal["type", "function", "interface", "method", "package", "file"]
)
"""A contract's kind, as the enum or its word."""

ContractStatusLike = ContractStatus | Literal["", "fulfilled", "disputed", "pending"]
"""A contract's status, as the enum or its word; "" means fulfilled."""

OnExpiryLike = OnExpiry | Literal["fail", "requeue"]
"""What happens to a session's running phases when it ends, as the enum or its word."""

EventKindLike = EventKind | Literal["phase", "contract", "claim", "session"]
"""A group of events, as the enum or its word."""


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """One board. `revision` counts its changes; `created_at` is UTC."""

    name: str
    board_id: str
    revision: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Phase:
    """A unit of work, its worker, and when it was first and last set (UTC).

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
    """An interface artifact that a phase publishes for the phases that depend on it.

    Producer, kind and name are its key. The board sets `id` and `created_at` (UTC);
    leave them out to publish.
    """

    producer: str
    kind: ContractKindLike
    name: str
    _: KW_ONLY
    signature: str = ""
    package: str = ""
    status: ContractStatusLike = ContractStatus.FULFILLED
    id: int = 0
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileClaim:
    """One phase's exclusive claim of one file, and when it was made (UTC).

    `session_id` is the session that it is bound to, "" for none.
    """

    filepath: str
    owner: str
    claimed_at: datetime
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """A worker's lease: it expires at `expires_at` (UTC) unless it is renewed."""

    session_id: str
    worker: str
    ttl: timedelta
    expires_at: datetime
    on_expiry: OnExpiry


Record = Phase | Contract | FileClaim | Session


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the board: its time (UTC), its cause, and the whole record after it.

    All events of one call have its revision. The event of a release or removal has
    the record as it was before, a removed contract without its signature.
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
    """What complete_phase did: the phase, contracts published and claims released."""

    phase: Phase
    published: int
    released: int


@dataclass(frozen=True, slots=True)
class Archived:
    """How many phases, contracts and claims were removed when a board was archived."""

    phases: int
    contracts: int
    claims: int


@dataclass(frozen=True, slots=True)
class PhaseIn:
    """Condition of `wait_for`: the phase is in one of the states."""

    phase_id: str
    states: tuple[PhaseStateLike, ...]

    def __init__(self, phase_id: str, *states: PhaseStateLike) -> None:
        object.__setattr__(self, "phase_id", phase_id)
        object.__setattr__(self, "states", states)


@dataclass(frozen=True, slots=True)
class ContractPublished:
    """Condition of `wait_for`: a contract is published that equals every field given.

    Its status does not matter.
    """

    name: str = ""
    kind: ContractKindLike | Literal[""] = ""
    producer: str = ""
    package: str = ""


@dataclass(frozen=True, slots=True)
class FileFree:
    """Condition of `wait_for`: no phase has claimed the file."""

    filepath: str | PathLike[str]


Condition = PhaseIn | ContractPublished | FileFree


@dataclass(frozen=True, slots=True)
class NotMet:
    """A condition that did not hold when `wait_for` ran out of time; its str says why.

    `actual` is the state of the phase ("" if it does not exist) or the owner of the
    file, and "" for a contract.
    """

    condition: Condition
    actual: str

    def __str__(self) -> str:
        match self.condition:
            case PhaseIn(phase_id, states):
                wanted = " or ".join(state.upper() for state in states)
                found = f"is {self.actual.upper()}" if self.actual else "does not exist"
                return f'phase "{phase_id}" {found}, wanted {wanted}'
            case FileFree(filepath):
                return f'file "{fspath(filepath)}" is claimed by "{self.actual}", wanted free'
            case ContractPublished() as contract:
                fields = [
                    f'{name} "{value}"'
                    for name in ("name", "kind", "producer", "package")
                    if (value := getattr(contract, name))
                ]
                return f"no contract with {', '.join(fields)} is published"


@dataclass(frozen=True, slots=True)
class Met:
    """The phases and contracts that met the conditions, and the revision at which all held."""

    revision: int
    phases: list[Phase]
    contracts: list[Contract]
