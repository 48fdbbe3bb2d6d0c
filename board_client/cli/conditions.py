"""The conditions of `board wait`: reading them from options, and printing those not met."""

import os
from dataclasses import asdict

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


def record_of(not_met: NotMet) -> dict[str, object]:
    """Return a condition that does not hold, as the object to print under `--json`.

    Its first field is named as in the board's WaitCondition; `actual` is that of NotMet.
    """
    match not_met.condition:
        case PhaseIn(phase_id, states):
            condition: dict[str, object] = {"phase": {"phase_id": phase_id, "states": [*states]}}
        case FileFree(filepath):
            condition = {"file_free": {"filepath": os.fspath(filepath)}}
        case ContractPublished() as wanted:
            condition = {"contract": asdict(wanted)}
    return condition | {"actual": not_met.actual, "message": against(not_met)}


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
