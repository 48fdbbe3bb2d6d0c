"""Events as text, for `board watch` and `board top`."""

from board_client.model import Change, Contract, ContractStatus, Event, FileClaim, Phase, Session


def happened(event: Event) -> str:
    """Return an event in words: "p1 is running, worker w1"."""
    match event.record:
        case Phase(phase_id, state, worker):
            return f"{phase_id} is {state}{worker and f', worker {worker}'}"
        case Contract(producer, kind, name) as contract:
            standing = "" if contract.status == ContractStatus.FULFILLED else contract.status
            return f"{producer} published {kind} {name}{standing and f', {standing}'}"
        case FileClaim(filepath, owner):
            verb = "released" if event.change == Change.RELEASED else "claimed"
            return f"{owner} {verb} {filepath}"
        case Session(session_id, worker):
            verb = "ended" if event.change == Change.SESSION_ENDED else "opened"
            return f"session {session_id} {verb}{worker and f', worker {worker}'}"
        case None:
            return ""
