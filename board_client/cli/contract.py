"""`board contract`: what phases leave for those that depend on them."""

from dataclasses import asdict
from typing import Annotated

import typer

from board_client.cli.connection import connect
from board_client.cli.contract_lines import (
    KINDS,
    STATUSES,
    read_contracts,
    source_of,
    telling_lines,
)
from board_client.cli.dispute import conflicts, dispute, resolve
from board_client.cli.output import Column, plural, print_json, print_line, print_table
from board_client.cli.settings import OWN_PHASE, Json, settings

contract = typer.Typer(
    name="contract", no_args_is_help=True, help="Publish, list and judge interface contracts."
)
contract.command()(conflicts)
contract.command()(dispute)
contract.command()(resolve)


@contract.command()
def publish(
    ctx: typer.Context,
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="FILE", help="JSON lines; - is standard input."),
    ],
    producer: Annotated[
        str,
        typer.Option(
            metavar="PHASE", envvar=OWN_PHASE, help="The phase of the lines that name no producer."
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Publish contracts from JSON lines, in one transaction.

    A line is an object with the keys producer, kind, name, and if need be
    signature, package and status. If one is wrong, nothing is published.

    Example: board contract publish - < quasar-contracts.jsonl
    """
    given = settings(ctx, json)
    source = source_of(file)
    numbered = read_contracts(file, source, producer)
    with connect(given) as client, telling_lines(numbered, source):
        published = client.publish_contracts(each for _, each in numbered)
    if given.json:
        print_json({"published": published})
    else:
        print_line(f"published {plural(published, 'contract')}")


@contract.command("list")
def list_(
    ctx: typer.Context,
    producer: Annotated[
        str | None, typer.Option(metavar="PHASE", help="Only what this phase has published.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", autocompletion=lambda: KINDS, help=f"Only {', '.join(KINDS)}."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this symbol or file.")
    ] = None,
    package: Annotated[
        str | None, typer.Option(metavar="PACKAGE", help="Only what is in this package.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS", autocompletion=lambda: STATUSES, help=f"Only {', '.join(STATUSES)}."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List contracts in the order they were first published."""
    given = settings(ctx, json)
    with connect(given) as client:
        found = client.list_contracts(
            producer=producer,
            kind=kind,  # type: ignore[arg-type]  # the call checks it
            name=name,
            package=package,
            status=status,  # type: ignore[arg-type]  # the call checks it
        )
    if given.json:
        print_json([asdict(each) for each in found])
    else:
        print_table(
            [
                *(Column("producer"), Column("kind"), Column("name"), Column("package")),
                *(Column("status"), Column("signature", cut=True)),
            ],
            [(c.producer, c.kind, c.name, c.package, c.status, c.signature) for c in found],
        )
