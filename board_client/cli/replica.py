"""Replica: a board in memory, kept up to date by its events."""

from board_client.model import Change, Contract, Event, FileClaim, Phase, Session, Snapshot


class Replica:
    """A copy of a board. With every event after its snapshot applied, it equals a later one.

    Only the expiry of sessions may differ: a renewal is not an event.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.board_id = snapshot.board_id
        self.revision = snapshot.revision
        self._phases = {phase.phase_id: phase for phase in snapshot.phases}
        self._contracts = {_key(contract): contract for contract in snapshot.contracts}
        self._claims = {claim.filepath: claim for claim in snapshot.claims}
        self._sessions = {session.session_id: session for session in snapshot.sessions}

    def apply(self, event: Event) -> None:
        """Apply one event."""
        self.revision = event.revision
        match event.record:
            case Phase() as phase:
                self._phases[phase.phase_id] = phase
            case Contract() as contract:
                self._contracts[_key(contract)] = contract
            case FileClaim() as claim if event.change == Change.RELEASED:
                self._claims.pop(claim.filepath, None)
            case FileClaim() as claim:
                self._claims[claim.filepath] = claim
            case Session() as session if event.change == Change.SESSION_ENDED:
                self._sessions.pop(session.session_id, None)
            case Session() as session:
                self._sessions[session.session_id] = session

    def snapshot(self) -> Snapshot:
        """Return the board with all events applied, each list in the order of the board."""
        return Snapshot(
            self.revision,
            self.board_id,
            sorted(self._phases.values(), key=lambda phase: (phase.posted_at, phase.phase_id)),
            sorted(self._contracts.values(), key=lambda contract: contract.id),
            sorted(self._claims.values(), key=lambda claim: claim.filepath),
            sorted(self._sessions.values(), key=lambda session: session.session_id),
        )


def _key(contract: Contract) -> tuple[str, str, str]:
    return contract.producer, contract.kind, contract.name
