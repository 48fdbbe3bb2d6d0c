"""`board wait`: until phases are done, contracts there, files free."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from board_client.cli.conditions import phase_in, unmet
from board_client.cli.connection import connect
from board_client.cli.contract_lines import KINDS
from board_client.cli.duration import duration, written
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import print_json, print_line
from board_client.cli.paths import repository_paths
from board_client.cli.settings import Json, settings
from board_client.cli.visible import visible
from board_client.model import Condition, ContractPublished, FileFree, Met

if TYPE_CHECKING:
    from board_client.sync import BoardClient

_AS_LONG_AS_IT_TAKES = timedelta(days=3650)


def wait(
    ctx: typer.Context,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=STATE[,STATE]...",
            help="A phase, and the states of which it must be in one.",
        ),
    ] = None,
    contract: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The name of a contract that must be published."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A file that no phase may have claimed."),
    ] = None,
    producer: Annotated[
        str, typer.Option(metavar="PHASE", help="Only contracts of this phase count.")
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND", autocompletion=lambda: KINDS, help="Only contracts of this kind count."
        ),
    ] = "",
    package: Annotated[
        str, typer.Option(metavar="PACKAGE", help="Only contracts in this package count.")
    ] = "",
    timeout: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=duration,
            show_default="as long as it takes",
            help="How long to wait, as 500ms, 30s, 5m or 2h; then exit with 7.",
        ),
    ] = _AS_LONG_AS_IT_TAKES,
    json: Json = False,
) -> None:
    """Wait until all of it holds at one moment, and print what met it.

    --phase, --contract and --file may be given several times. A server that
    goes away and comes back meanwhile is waited for too.

    Example: board wait --phase board-store=done,failed --file go.mod --timeout 5m
    """
    given = settings(ctx, json)
    # With a filter and no name, any contract that passes it counts.
    names = contract or [""] * bool(producer or kind or package)
    files = repository_paths(file or ())
    conditions: list[Condition] = [
        *map(phase_in, phase or ()),
        *(ContractPublished(name, kind, producer, package) for name in names),  # type: ignore[arg-type]  # the call checks it
        *map(FileFree, files),
    ]
    if not conditions:
        raise typer.BadParameter("say what to wait for: --phase, --contract or --file")
    with connect(given) as client:
        met = _wait(client, conditions, timeout)
    if given.json:
        print_json(asdict(met))
        return
    for each in met.phases:
        print_line(visible(f"phase {each.phase_id} is {each.state}"))
    for made in met.contracts:
        print_line(visible(f"contract {made.kind} {made.name} is published by {made.producer}"))
    for path in files:
        print_line(visible(f"file {path} is free"))


def _wait(client: "BoardClient", conditions: Sequence[Condition], timeout: timedelta) -> Met:
    from board_client.errors import DeadlineExceeded  # noqa: PLC0415  it imports grpc

    client.list_boards()  # a wrong target is told now, not when the wait is over
    try:
        return client.within(timeout.total_seconds()).wait_for(*conditions)
    except DeadlineExceeded as error:
        against = list(unmet(conditions, client.get_snapshot()))
        why = "; ".join(against) or "not all of it held at one moment"
        raise Failure(f"not met within {written(timeout)}: {why}", ExitCode.TIMED_OUT) from error
