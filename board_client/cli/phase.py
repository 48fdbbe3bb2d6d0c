"""`board phase`: the phases, their states and their workers."""

import os
from typing import Annotated

import typer

from board_client.cli.command_line import Command, Group
from board_client.cli.completion import complete_phase
from board_client.cli.connection import connect_board
from board_client.cli.output import Answer, Column, Table, rfc3339
from board_client.cli.settings import OWN_PHASE, settings
from board_client.cli.visible import visible
from board_client.model import PhaseState

phase = typer.Typer(name="phase", cls=Group, help="Set, get and list phases.")

_STATES = [state.value for state in PhaseState if state]


def _states() -> list[str]:
    return _STATES


@phase.command("set", cls=Command)
def set_(
    ctx: typer.Context,
    phase_id: Annotated[
        str,
        typer.Argument(
            metavar="PHASE",
            autocompletion=complete_phase,
            help=f"May be left out where {OWN_PHASE} names the phase.",
        ),
    ],
    state: Annotated[
        str,
        typer.Argument(
            metavar="STATE",
            autocompletion=_states,
            show_default=False,
            help=f"One of {', '.join(_STATES)}.",
        ),
    ] = "",
    worker: Annotated[
        str | None,
        typer.Option(metavar="WORKER", help="Set the phase's worker; without it, keep the worker."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            autocompletion=_states,
            help="Unless the phase is in this state, change nothing and exit with 5; "
            '"" expects that there is no such phase.',
        ),
    ] = None,
) -> Answer:
    """Set the state of a phase.

    Create the phase if it is not on the board.
    """
    if not state:
        phase_id, state = _own_phase(), phase_id
    with connect_board(settings(ctx)) as client:
        now = client.set_phase_state(
            phase_id,
            state,  # type: ignore[arg-type]  # the call checks it
            worker=worker,
            expected_state=expect,  # type: ignore[arg-type]  # the call checks it
        )
    worker_too = f", worker {now.worker}" if now.worker else ""
    return Answer(now, visible(f"{now.phase_id} is {now.state}{worker_too}"))


def _own_phase() -> str:
    try:
        return os.environ[OWN_PHASE]
    except KeyError:
        raise typer.BadParameter(
            f"give PHASE and STATE; STATE alone needs {OWN_PHASE}", param_hint="STATE"
        ) from None


@phase.command(cls=Command)
def get(
    ctx: typer.Context,
    phase_id: Annotated[
        str,
        typer.Argument(
            metavar="PHASE", envvar=OWN_PHASE, autocompletion=complete_phase, help="The phase."
        ),
    ],
) -> Answer:
    """Print the state of a phase.

    If there is no such phase, print an empty line, or null as JSON.
    """
    with connect_board(settings(ctx)) as client:
        found = client.get_phase(phase_id)
    return Answer(found, found.state if found else "")


@phase.command("list", cls=Command)
def list_(
    ctx: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            autocompletion=_states,
            help="List only phases in this state; may be given several times.",
        ),
    ] = None,
) -> Answer:
    """List the phases in the order in which they were posted."""
    with connect_board(settings(ctx)) as client:
        found = client.list_phases(*(state or ()))
    columns = [Column("phase"), Column("state"), Column("worker"), Column("updated")]
    rows = [(p.phase_id, p.state, p.worker, rfc3339(p.updated_at)) for p in found]
    return Answer(found, Table(columns, rows))
