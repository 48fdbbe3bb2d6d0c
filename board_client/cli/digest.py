"""Digest: the part of a board that a prompt shows, whole or since a revision.

It has no IDs, revisions or times, and is ordered by names, so that boards with equal
content have equal digests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from board_client.cli.contradictions import Contradiction, contradictions
from board_client.model import (
    Change,
    Contract,
    Event,
    EventCause,
    FileClaim,
    Phase,
    PhaseState,
    Snapshot,
)


@dataclass(frozen=True, slots=True)
class Digest:
    """The records to show, each list ordered by names.

    `states` has the state of every phase, shown or not; `causes` has why a phase
    changed, if no caller changed it; `freed` are claims that were released. If the
    reader works on a `phase`, `needed` are the phases that it depends on, the nearest first.
    """

    title: str
    if_empty: str
    states: dict[str, PhaseState]
    phases: Sequence[Phase]
    contracts: Sequence[Contract]
    contradictions: Sequence[Contradiction]
    claims: Sequence[FileClaim]
    freed: Sequence[FileClaim] = ()
    causes: dict[str, EventCause] = field(default_factory=dict)
    phase: str = ""
    needed: Sequence[str] = ()

    @property
    def focus(self) -> Sequence[str]:
        """The phases whose records come first."""
        return (self.phase, *self.needed)

    def __bool__(self) -> bool:
        """Return whether there is anything to show."""
        return bool(self.phases or self.contracts or self.claims or self.freed)


def whole(board: Snapshot) -> Digest:
    """Return the digest of a whole board."""
    return Digest(
        "Board",
        "It is empty.",
        _states(board),
        _by_id(board.phases),
        _by_name(board.contracts),
        contradictions(board.contracts),
        _by_path(board.claims),
    )


def changed(board: Snapshot, events: Iterable[Event]) -> Digest:
    """Return the digest of what the events changed, each record once, as it now is.

    The events are those before the snapshot, in order.
    """
    phases: dict[str, Phase] = {}
    causes: dict[str, EventCause] = {}
    contracts: dict[tuple[str, str, str], Contract] = {}
    claims: dict[str, tuple[Change, FileClaim]] = {}
    for event in events:
        match event.record:
            case Phase() as phase:
                phases[phase.phase_id] = phase
                causes[phase.phase_id] = event.cause
            case Contract() as contract:
                contracts[contract.producer, contract.kind, contract.name] = contract
            case FileClaim() as claim:
                claims[claim.filepath] = event.change, claim
    return Digest(
        "Changes on the board",
        "Nothing has changed.",
        _states(board),
        _by_id(phases.values()),
        _by_name(contracts.values()),
        [
            each
            for each in contradictions(board.contracts)
            if any((c.producer, c.kind, c.name) in contracts for c in each.contracts)
        ],
        _by_path(claim for change, claim in claims.values() if change == Change.CLAIMED),
        _by_path(claim for change, claim in claims.values() if change == Change.RELEASED),
        {phase_id: cause for phase_id, cause in causes.items() if cause != EventCause.CALL},
    )


def _states(board: Snapshot) -> dict[str, PhaseState]:
    return {phase.phase_id: phase.state for phase in board.phases}


def _by_id(phases: Iterable[Phase]) -> list[Phase]:
    return sorted(phases, key=lambda phase: phase.phase_id)


def _by_name(contracts: Iterable[Contract]) -> list[Contract]:
    return sorted(contracts, key=lambda each: (each.package, each.name, each.kind, each.producer))


def _by_path(claims: Iterable[FileClaim]) -> list[FileClaim]:
    return sorted(claims, key=lambda claim: claim.filepath)
