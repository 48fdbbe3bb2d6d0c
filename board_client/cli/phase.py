"""`board phase`: who does what, and how far it is."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from board_client.cli.connection import connect
from board_client.cli.output import Column, print_json, print_line, print_table, rfc3339
from board_client.cli.settings import OWN_PHASE, Json, settings
from board_client.cli.visible import visible
from board_client.model import PhaseState

phase = typer.Typer(name="phase", no_args_is_help=True, help="Set, get and list the phases.")

_STATES = [state.value for state in PhaseState if state]


def _states() -> list[str]:
    return _STATES


@phase.command("set")
def set_(
    ctx: typer.Context,
    phase_id: Annotated[
        str,
        typer.Argument(
            metavar="PHASE", help=f"May be left out where {OWN_PHASE} is set, and is that one then."
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
        typer.Option(metavar="WORKER", help="Who has the phase; left as it is if not given."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            autocompletion=_states,
            help="Change nothing, and exit with 5, unless the phase is in this state; "
            'with "", unless there is no such phase.',
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Set the state of a phase, which is created if need be."""
    given = settings(ctx, json)
    if not state:
        phase_id, state = _own_phase(), phase_id
    with connect(given) as client:
        now = client.set_phase_state(
            phase_id,
            state,  # type: ignore[arg-type]  # the call checks it
            worker=worker,
            expected_state=expect,  # type: ignore[arg-type]  # the call checks it
        )
    if given.json:
        print_json(asdict(now))
    else:
        worker_too = f", worker {now.worker}" if now.worker else ""
        print_line(visible(f"{now.phase_id} is {now.state}{worker_too}"))


def _own_phase() -> str:
    try:
        return os.environ[OWN_PHASE]
    except KeyError:
        raise typer.BadParameter(
            f"say it, or set {OWN_PHASE} to set that phase", param_hint="STATE"
        ) from None


@phase.command()
def get(
    ctx: typer.Context,
    phase_id: Annotated[str, typer.Argument(metavar="PHASE", envvar=OWN_PHASE)],
    json: Json = False,
) -> None:
    """Print the state of a phase; an empty line (in JSON, null) if there is no such phase."""
    given = settings(ctx, json)
    with connect(given) as client:
        found = client.get_phase(phase_id)
    if given.json:
        print_json(found and asdict(found))
    else:
        print_line(found.state if found else "")


@phase.command("list")
def list_(
    ctx: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            autocompletion=_states,
            help="Only phases in this state; may be given several times.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the phases in the order they were posted."""
    given = settings(ctx, json)
    with connect(given) as client:
        found = client.list_phases(*(state or ()))
    if given.json:
        print_json([asdict(each) for each in found])
    else:
        print_table(
            [Column("phase"), Column("state"), Column("worker"), Column("updated")],
            [(p.phase_id, p.state, p.worker, rfc3339(p.updated_at)) for p in found],
        )
