"""`board contract conflicts`, `dispute` and `resolve`: contracts that contradict each other."""

from dataclasses import replace
from typing import Annotated

import typer

from board_client.cli.completion import complete_phase
from board_client.cli.connection import connect_board
from board_client.cli.contract_lines import KINDS
from board_client.cli.contradictions import contradictions
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import Answer, Column, Table
from board_client.cli.settings import Settings, settings
from board_client.cli.visible import visible
from board_client.model import ContractStatus

Producer = Annotated[
    str,
    typer.Option(
        "--phase",
        "--producer",
        metavar="PHASE",
        autocompletion=complete_phase,
        help="The phase that published the contract.",
    ),
]
Kind = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        autocompletion=lambda: KINDS,
        help=f"Kind of the contract: {', '.join(KINDS)}.",
    ),
]
Name = Annotated[str, typer.Option(metavar="NAME", help="Name of the symbol, or path of the file.")]


def conflicts(
    ctx: typer.Context,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 8 if there are any, so that CI can stop."),
    ] = False,
) -> Answer:
    """List contracts that contradict each other. Change nothing.

    They have the same kind, package and name, and different signatures from
    different producers: at most one can be true, and a person must decide which.
    """
    with connect_board(settings(ctx)) as client:
        found = contradictions(client.all_contracts())
    columns = [
        *(Column("package"), Column("kind"), Column("name"), Column("producer")),
        *(Column("status"), Column("signature", cut=True)),
    ]
    rows = [
        (each.package, each.kind, each.name, c.producer, c.status, c.signature)
        for each in found
        for c in each.contracts
    ]
    code = ExitCode.CONTRADICTIONS if found and exit_code else ExitCode.OK
    return Answer(found, Table(columns, rows), code)


def dispute(ctx: typer.Context, producer: Producer, kind: Kind, name: Name) -> Answer:
    """Mark a contract as disputed, so that no phase relies on it.

    Example: board contract dispute --phase board-store --kind type --name Board
    """
    return _set_status(settings(ctx), producer, kind, name, ContractStatus.DISPUTED)


def resolve(ctx: typer.Context, producer: Producer, kind: Kind, name: Name) -> Answer:
    """Mark a contract as fulfilled: its signature is right."""
    return _set_status(settings(ctx), producer, kind, name, ContractStatus.FULFILLED)


def _set_status(
    given: Settings, producer: str, kind: str, name: str, status: ContractStatus
) -> Answer:
    if not kind:
        raise typer.BadParameter(f"must be one of {', '.join(KINDS)}", param_hint="--kind")
    with connect_board(given) as client:
        found = client.list_contracts(
            producer=producer,
            kind=kind,  # type: ignore[arg-type]  # the call checks it
            name=name,
        )
        if not found:
            raise Failure(f'phase "{producer}" has published no {kind} "{name}"')
        now = client.publish_contract(replace(found[0], status=status))
    return Answer(now, visible(f"{now.kind} {now.name} by {now.producer} is {now.status}"))
