"""`board complete`: a worker's last call for its phase."""

from dataclasses import asdict
from typing import Annotated

import typer

from board_client.cli.connection import connect
from board_client.cli.contract_lines import read_contracts, source_of, telling_lines
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import plural, print_json, print_line
from board_client.cli.settings import OWN_PHASE, Json, settings
from board_client.cli.visible import visible
from board_client.model import PhaseState

_STATES = [PhaseState.DONE.value, PhaseState.FAILED.value]


def complete(
    ctx: typer.Context,
    phase_id: Annotated[str, typer.Argument(metavar="PHASE", envvar=OWN_PHASE)],
    state: Annotated[
        str,
        typer.Option(
            metavar="STATE", autocompletion=lambda: _STATES, help=f"{' or '.join(_STATES)}."
        ),
    ] = PhaseState.DONE.value,
    contracts: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            metavar="FILE",
            help="Contracts to publish, as `contract publish` reads them; - is standard input. "
            "Lines that name no producer are this phase's.",
        ),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the phase if there is none of that name.")
    ] = False,
    json: Json = False,
) -> None:
    """End a phase: publish its contracts, set its state, release its files.

    All of it happens, or nothing. A phase that is not on the board is refused.

    Example: board complete board-store --contracts contracts.jsonl
    """
    if state not in _STATES:
        raise Failure(f'--state must be {" or ".join(_STATES)}, not "{state}"', ExitCode.BAD_INPUT)
    given = settings(ctx, json)
    source = source_of(contracts) if contracts else ""
    numbered = read_contracts(contracts, source, phase_id) if contracts else []
    with connect(given) as client, telling_lines(numbered, source):
        if not create and client.get_phase(phase_id) is None:
            raise Failure(
                f'there is no phase "{phase_id}"; `board phase list` lists those that there are, '
                "--create makes it"
            )
        done = client.complete_phase(phase_id, PhaseState(state), [each for _, each in numbered])
    if given.json:
        print_json(asdict(done))
    else:
        print_line(
            f"{visible(done.phase.phase_id)} is {done.phase.state}: "
            f"{plural(done.published, 'contract')} published, "
            f"{plural(done.released, 'file')} released"
        )
