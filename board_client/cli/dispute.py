"""`board contract conflicts`, `dispute`, `resolve`: what a person decides about contracts."""

from dataclasses import asdict, replace
from typing import Annotated

import typer

from board_client.cli.connection import connect
from board_client.cli.contract_lines import KINDS
from board_client.cli.contradictions import contradictions
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import Column, print_json, print_line, print_table
from board_client.cli.settings import Json, Settings, settings
from board_client.cli.visible import visible
from board_client.model import ContractStatus

Producer = Annotated[
    str, typer.Option(metavar="PHASE", help="The phase that published the contract.")
]
Kind = Annotated[
    str,
    typer.Option(metavar="KIND", autocompletion=lambda: KINDS, help=f"One of {', '.join(KINDS)}."),
]
Name = Annotated[str, typer.Option(metavar="NAME", help="The symbol, or the path of a file.")]


def conflicts(
    ctx: typer.Context,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="Exit with 8 if there are any, so that CI can stop."),
    ] = False,
    json: Json = False,
) -> None:
    """List contracts that contradict each other. Nothing is changed by it.

    They are of the same kind, package and name, with different signatures from
    different producers: at most one can be true, and a person must decide.
    """
    given = settings(ctx, json)
    with connect(given) as client:
        found = contradictions(client.all_contracts())
    if given.json:
        print_json([asdict(each) for each in found])
    else:
        print_table(
            [
                *(Column("package"), Column("kind"), Column("name"), Column("producer")),
                *(Column("status"), Column("signature", cut=True)),
            ],
            [
                (each.package, each.kind, each.name, c.producer, c.status, c.signature)
                for each in found
                for c in each.contracts
            ],
        )
    if found and exit_code:
        raise typer.Exit(ExitCode.CONTRADICTIONS)


def dispute(
    ctx: typer.Context, producer: Producer, kind: Kind, name: Name, json: Json = False
) -> None:
    """Mark a contract as disputed, so that nobody relies on it.

    Example: board contract dispute --producer board-store --kind type --name Board
    """
    _judge(settings(ctx, json), producer, kind, name, ContractStatus.DISPUTED)


def resolve(
    ctx: typer.Context, producer: Producer, kind: Kind, name: Name, json: Json = False
) -> None:
    """Mark a contract as fulfilled: it holds as it stands."""
    _judge(settings(ctx, json), producer, kind, name, ContractStatus.FULFILLED)


def _judge(given: Settings, producer: str, kind: str, name: str, status: ContractStatus) -> None:
    if not kind:
        raise typer.BadParameter(f"must be one of {', '.join(KINDS)}", param_hint="--kind")
    with connect(given) as client:
        found = client.list_contracts(
            producer=producer,
            kind=kind,  # type: ignore[arg-type]  # the call checks it
            name=name,
        )
        if not found:
            raise Failure(f'phase "{producer}" has published no {kind} "{name}"')
        now = client.publish_contract(replace(found[0], status=status))
    if given.json:
        print_json(asdict(now))
    else:
        print_line(visible(f"{now.kind} {now.name} by {now.producer} is {now.status}"))
