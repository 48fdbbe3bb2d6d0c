"""CompletePhase: publish, set the state and release claims in one transaction."""

from board_server.model import Completed, Completion, PhaseChange
from board_server.sqlite import claims, contracts, phases
from board_server.sqlite.transaction import Transaction


def complete(tx: Transaction, completion: Completion) -> Completed:
    """Store.complete_phase, for a live session."""
    published = contracts.publish_batch(tx, completion.contracts)
    change = PhaseChange(completion.phase_id, completion.state)
    phase = phases.set_state(tx, change)
    released = claims.release(tx, completion.phase_id, ())
    return Completed(phase, published, released)
