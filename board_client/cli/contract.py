"""`board contract`: the contracts that phases publish for those that depend on them."""

from typing import Annotated

import typer

from board_client.cli.command_line import Command, Group
from board_client.cli.completion import complete_phase
from board_client.cli.connection import connect_board
from board_client.cli.contract_lines import (
    KINDS,
    STATUSES,
    name_lines,
    read_contracts,
    source_of,
)
from board_client.cli.dispute import conflicts, dispute, resolve
from board_client.cli.output import Answer, Column, Table, plural
from board_client.cli.settings import OWN_PHASE, settings

contract = typer.Typer(
    name="contract", cls=Group, help="Publish, list, dispute and resolve interface contracts."
)
contract.command(cls=Command)(conflicts)
contract.command(cls=Command)(dispute)
contract.command(cls=Command)(resolve)


@contract.command(cls=Command)
def publish(
    ctx: typer.Context,
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="FILE", help="JSON lines; - is standard input."),
    ],
    producer: Annotated[
        str,
        typer.Option(
            "--phase",
            "--producer",
            metavar="PHASE",
            envvar=OWN_PHASE,
            autocompletion=complete_phase,
            help="The producer of the lines that name none.",
        ),
    ] = "",
) -> Answer:
    """Publish contracts from JSON lines, in one transaction.

    Each line is an object with the keys producer, kind and name, and optionally
    signature, package and status. If one line is wrong, nothing is published.

    Example: board contract publish - < quasar-contracts.jsonl
    """
    source = source_of(file)
    numbered = read_contracts(file, source, producer)
    with connect_board(settings(ctx)) as client, name_lines(numbered, source):
        published = client.publish_contracts(each for _, each in numbered)
    return Answer({"published": published}, f"published {plural(published, 'contract')}")


@contract.command("list", cls=Command)
def list_(
    ctx: typer.Context,
    producer: Annotated[
        str | None,
        typer.Option(
            "--phase",
            "--producer",
            metavar="PHASE",
            autocompletion=complete_phase,
            help="List only the contracts that this phase has published.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            autocompletion=lambda: KINDS,
            help=f"List only this kind: {', '.join(KINDS)}.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="List only this symbol or file.")
    ] = None,
    package: Annotated[
        str | None, typer.Option(metavar="PACKAGE", help="List only this package.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            autocompletion=lambda: STATUSES,
            help=f"List only this status: {', '.join(STATUSES)}.",
        ),
    ] = None,
) -> Answer:
    """List contracts in the order in which they were first published."""
    with connect_board(settings(ctx)) as client:
        found = client.list_contracts(
            producer=producer,
            kind=kind,  # type: ignore[arg-type]  # the call checks it
            name=name,
            package=package,
            status=status,  # type: ignore[arg-type]  # the call checks it
        )
    columns = [
        *(Column("producer"), Column("kind"), Column("name"), Column("package")),
        *(Column("status"), Column("signature", cut=True)),
    ]
    rows = [(c.producer, c.kind, c.name, c.package, c.status, c.signature) for c in found]
    return Answer(found, Table(columns, rows))
