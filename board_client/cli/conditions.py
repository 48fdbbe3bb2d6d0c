"""The conditions of `board wait`: how options become conditions, and which are not met."""

import os

import typer

from board_client.cli.visible import visible
from board_client.model import ContractPublished, FileFree, NotMet, PhaseIn

_FIELDS = ("kind", "name", "package", "producer")


def phase_in(text: str) -> PhaseIn:
    """Read ID=STATE[,STATE]... Raises typer.BadParameter; the board checks the words."""
    phase_id, equals, states = text.rpartition("=")
    if not (phase_id and equals and states):
        raise typer.BadParameter(
            f'"{text}" is not of the form ID=STATE[,STATE]...', param_hint="--phase"
        )
    return PhaseIn(phase_id, *states.split(","))  # type: ignore[arg-type]  # the call checks it


def against(not_met: NotMet) -> str:
    """Return in words why a condition does not hold."""
    match not_met.condition:
        case PhaseIn(phase_id) if not_met.actual:
            return visible(f"phase {phase_id} is {not_met.actual}")
        case PhaseIn(phase_id):
            return visible(f"there is no phase {phase_id}")
        case FileFree(filepath):
            return visible(f"{not_met.actual} has {os.fspath(filepath)}")
        case ContractPublished() as wanted:
            fields = ((name, getattr(wanted, name)) for name in _FIELDS)
            words = ", ".join(f"{name} {value}" for name, value in fields if value)
            return visible(f"there is no contract of {words}")
