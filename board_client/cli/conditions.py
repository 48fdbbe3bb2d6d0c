"""The conditions of `board wait`: how options become conditions, and which are not met."""

import os
from collections.abc import Iterator, Sequence

import typer

from board_client.cli.visible import visible
from board_client.model import Condition, ContractPublished, FileFree, PhaseIn, Snapshot


def phase_in(text: str) -> PhaseIn:
    """Read ID=STATE[,STATE]... Raises typer.BadParameter; the board checks the words."""
    phase_id, equals, states = text.rpartition("=")
    if not (phase_id and equals and states):
        raise typer.BadParameter(
            f'"{text}" is not of the form ID=STATE[,STATE]...', param_hint="--phase"
        )
    return PhaseIn(phase_id, *states.split(","))  # type: ignore[arg-type]  # the call checks it


def unmet(conditions: Sequence[Condition], board: Snapshot) -> Iterator[str]:
    """Yield why, for each condition that does not hold on a board."""
    phases = {phase.phase_id: phase for phase in board.phases}
    owners = {claim.filepath: claim.owner for claim in board.claims}
    for condition in conditions:
        match condition:
            case PhaseIn(phase_id, states):
                phase = phases.get(phase_id)
                if phase is None:
                    yield visible(f"there is no phase {phase_id}")
                elif phase.state not in states:
                    yield visible(f"phase {phase_id} is {phase.state}")
            case FileFree(filepath):
                if owner := owners.get(os.fspath(filepath)):
                    yield visible(f"{owner} has {filepath}")
            case ContractPublished():
                wanted = {
                    field: value
                    for field in ("kind", "name", "package", "producer")
                    if (value := getattr(condition, field))
                }
                if not any(
                    all(getattr(each, field) == value for field, value in wanted.items())
                    for each in board.contracts
                ):
                    words = ", ".join(f"{field} {value}" for field, value in wanted.items())
                    yield visible(f"there is no contract of {words}")
