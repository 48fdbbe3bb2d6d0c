"""`board complete`: a worker's last call for its phase."""

from typing import Annotated

import typer

from board_client.cli.completion import complete_phase
from board_client.cli.connection import connect_board
from board_client.cli.contract_lines import name_lines, read_contracts, source_of
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import Answer, plural
from board_client.cli.settings import OWN_PHASE, settings
from board_client.cli.visible import visible
from board_client.model import PhaseState

_STATES = [PhaseState.DONE.value, PhaseState.FAILED.value]


def complete(
    ctx: typer.Context,
    phase_id: Annotated[
        str,
        typer.Argument(
            metavar="PHASE",
            envvar=OWN_PHASE,
            autocompletion=complete_phase,
            help="The phase to end.",
        ),
    ],
    state: Annotated[
        str,
        typer.Option(
            metavar="STATE",
            autocompletion=lambda: _STATES,
            help=f"Set this state: {' or '.join(_STATES)}.",
        ),
    ] = PhaseState.DONE.value,
    contracts: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            metavar="FILE",
            help="Publish the contracts in this file, in the format of `contract publish`; "
            "- is standard input. A line without a producer gets this phase.",
        ),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create the phase if it is not on the board.")
    ] = False,
) -> Answer:
    """End a phase and release its files.

    Publish its contracts, set its state and release its files, in one transaction. A
    phase that is not on the board is refused.

    Example: board complete board-store --contracts contracts.jsonl
    """
    if state not in _STATES:
        raise Failure(f'--state must be {" or ".join(_STATES)}, not "{state}"', ExitCode.BAD_INPUT)
    source = source_of(contracts) if contracts else ""
    numbered = read_contracts(contracts, source, phase_id) if contracts else []
    with connect_board(settings(ctx)) as client, name_lines(numbered, source):
        if not create and client.get_phase(phase_id) is None:
            raise Failure(
                f'there is no phase "{phase_id}"; `board phase list` lists all, --create makes it',
                reason="PHASE_NOT_FOUND",
                metadata={"phase_id": phase_id},
            )
        done = client.complete_phase(phase_id, PhaseState(state), [each for _, each in numbered])
    return Answer(
        done,
        f"{visible(done.phase.phase_id)} is {done.phase.state}: "
        f"{plural(done.published, 'contract')} published, "
        f"{plural(done.released, 'file')} released",
    )
