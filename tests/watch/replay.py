"""A board rebuilt from its events alone, to compare with the tables."""

from collections.abc import Iterable
from dataclasses import replace

from board_server.model import (
    Change,
    Commit,
    Condition,
    Contract,
    ContractCondition,
    Event,
    Evidence,
    FileClaim,
    FileCondition,
    Phase,
    PhaseCondition,
    Session,
    Snapshot,
)


class Replayed:
    """The records of a board by its events: apply all of them, from the first one on."""

    def __init__(self) -> None:
        self.revision = 0
        self.phases: dict[str, Phase] = {}
        self.contracts: dict[int, Contract] = {}
        self.claims: dict[str, FileClaim] = {}
        self.sessions: dict[str, Session] = {}

    def apply(self, commits: Iterable[Commit]) -> None:
        for commit in commits:
            assert commit.revision == self.revision + 1
            assert commit.events
            self.revision = commit.revision
            for event in commit.events:
                self._apply(event)

    def _apply(self, event: Event) -> None:
        match event.change, event.record:
            case Change.PHASE, Phase() as phase:
                self.phases[phase.phase_id] = phase
            case Change.CONTRACT, Contract() as contract:
                assert self.contracts.get(contract.id) != contract, "nothing has changed"
                self.contracts[contract.id] = contract
            case Change.CLAIMED, FileClaim() as claim:
                held = self.claims.get(claim.filepath, claim)
                assert held.owner == claim.owner, "another phase had it"
                self.claims[claim.filepath] = claim
            case Change.RELEASED, FileClaim() as claim:
                assert self.claims.pop(claim.filepath) == claim
            case Change.SESSION_OPENED, Session() as session:
                self.sessions[session.session_id] = session
            case Change.SESSION_ENDED, Session() as session:
                del self.sessions[session.session_id]
            case unknown:
                raise AssertionError(unknown)

    def assert_is(self, snapshot: Snapshot) -> None:
        """Compare with the records in the tables."""
        assert self.revision == snapshot.revision
        in_order = sorted(self.phases.values(), key=lambda p: (p.posted_at, p.phase_id.encode()))
        assert in_order == snapshot.phases
        assert [self.contracts[id_] for id_ in sorted(self.contracts)] == snapshot.contracts
        paths = sorted(self.claims, key=str.encode)
        assert [self.claims[path] for path in paths] == snapshot.claims
        # A renewal moves expires_at and is not an event.
        assert {id_: undated(session) for id_, session in self.sessions.items()} == {
            session.session_id: undated(session) for session in snapshot.sessions
        }

    def evidence(self, conditions: Iterable[Condition]) -> list[Evidence]:
        """Return what meets each of the conditions now."""
        return [self._evidence(condition) for condition in conditions]

    def _evidence(self, condition: Condition) -> Evidence:
        match condition:
            case PhaseCondition(phase_id, states):
                phase = self.phases.get(phase_id)
                return phase if phase and phase.state in states else None
            case ContractCondition(producer, kind, name, package):
                for _, contract in sorted(self.contracts.items()):
                    if (
                        producer in {None, contract.producer}
                        and kind in {None, contract.kind}
                        and name in {None, contract.name}
                        and package in {None, contract.package}
                    ):
                        return contract
                return None
            case FileCondition(filepath):
                return None if filepath in self.claims else condition


def undated(session: Session) -> Session:
    return replace(session, expires_at=None)
