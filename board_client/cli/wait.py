"""`board wait`: wait until phases are done, contracts published and files free."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from board_client.cli.completion import complete_phase
from board_client.cli.conditions import against, phase_in, record_of
from board_client.cli.connection import connect_board
from board_client.cli.contract_lines import KINDS
from board_client.cli.duration import duration, written
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.output import Answer
from board_client.cli.paths import repository_paths
from board_client.cli.settings import settings
from board_client.cli.visible import visible
from board_client.model import Condition, ContractPublished, FileFree, Met

if TYPE_CHECKING:
    from board_client.sync import BoardClient

_NO_LIMIT = timedelta(days=3650)


def wait(
    ctx: typer.Context,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID=STATE[,STATE]...",
            autocompletion=complete_phase,
            help="A phase, and the states it may be in.",
        ),
    ] = None,
    contract: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name of a contract that must be published."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A file that no phase may have claimed."),
    ] = None,
    producer: Annotated[
        str,
        typer.Option(
            metavar="PHASE",
            autocompletion=complete_phase,
            help="Count only contracts of this phase.",
        ),
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND", autocompletion=lambda: KINDS, help="Count only contracts of this kind."
        ),
    ] = "",
    package: Annotated[
        str, typer.Option(metavar="PACKAGE", help="Count only contracts in this package.")
    ] = "",
    timeout: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=duration,
            show_default="no limit",
            help="Wait at most this long, then exit with 7.",
        ),
    ] = _NO_LIMIT,
) -> Answer:
    """Wait until conditions hold, and print what met them.

    All of them must hold at one moment. --phase, --contract and --file may be given
    several times. The wait survives restarts of the server.

    Example: board wait --phase board-store=done,failed --file go.mod --timeout 5m
    """
    # With a filter and no name, any contract that passes it counts.
    names = contract or [""] * bool(producer or kind or package)
    files = repository_paths(file or ())
    conditions: list[Condition] = [
        *map(phase_in, phase or ()),
        *(ContractPublished(name, kind, producer, package) for name in names),  # type: ignore[arg-type]  # the call checks it
        *map(FileFree, files),
    ]
    if not conditions:
        raise typer.BadParameter("nothing to wait for; give --phase, --contract or --file")
    with connect_board(settings(ctx)) as client:
        met = _wait(client, conditions, timeout)
    lines = [
        *(f"phase {each.phase_id} is {each.state}" for each in met.phases),
        *(
            f"contract {each.kind} {each.name} is published by {each.producer}"
            for each in met.contracts
        ),
        *(f"file {path} is free" for path in files),
    ]
    return Answer(met, [visible(line) for line in lines])


def _wait(client: "BoardClient", conditions: Sequence[Condition], timeout: timedelta) -> Met:
    from board_client.errors import DeadlineExceeded  # noqa: PLC0415  it imports grpc

    client.list_boards()  # fails at once if there is no server
    try:
        return client.with_options(timeout=timeout.total_seconds()).wait_for(*conditions)
    except DeadlineExceeded as error:
        if error.not_met is None:  # the server did not answer
            raise
        why = "; ".join(map(against, error.not_met)) or "not all of them held at one moment"
        raise Failure(
            f"not met within {written(timeout)}: {why}",
            ExitCode.TIMED_OUT,
            metadata={"not_met": [record_of(each) for each in error.not_met]},
        ) from error
