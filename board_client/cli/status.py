"""`board status`: how a board stands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from board_client.cli.connection import connect
from board_client.cli.failure import Failure
from board_client.cli.output import Column, age, plural, print_json, print_line, print_table
from board_client.cli.settings import Json, settings
from board_client.model import BoardInfo, Contract, FileClaim, Phase, PhaseState

if TYPE_CHECKING:
    from board_client.sync import BoardClient


@dataclass(frozen=True, slots=True)
class Standing:
    """What one board holds at one moment."""

    board: BoardInfo
    phases: Sequence[Phase]
    claims: Sequence[FileClaim]
    contracts: Sequence[Contract]

    def phase_counts(self) -> dict[str, int]:
        """Return how many phases are in each state that has any."""
        counts = Counter(phase.state for phase in self.phases)
        return {state: counts[state] for state in PhaseState if counts[state]}


def status(ctx: typer.Context, json: Json = False) -> None:
    """Show a board: its revision, its phases, and how many claims and contracts there are.

    Where no board is named and the server's default board is empty, the other
    boards are pointed out; the only one is shown.
    """
    given = settings(ctx, json)
    with connect(given) as client:
        standing = _read(client)
        elsewhere: Sequence[BoardInfo] = ()
        if not (given.json or given.board or _anything_on(standing)):
            elsewhere = [board for board in client.list_boards() if board.revision]
        if len(elsewhere) == 1:
            standing = _read(client.on(elsewhere[0].name))
    if given.json:
        print_json(_record(standing))
        return
    _print(standing)
    if len(elsewhere) > 1:
        names = ", ".join(board.name for board in elsewhere)
        print_line(f"other boards, for --board or BOARD_NAME: {names}")


def _read(client: "BoardClient") -> Standing:
    found = client.get_snapshot()
    boards = {board.board_id: board for board in client.list_boards()}
    if found.board_id not in boards:
        raise Failure("the board was replaced while it was read; try again")
    board = replace(boards[found.board_id], revision=found.revision)
    return Standing(board, found.phases, found.claims, found.contracts)


def _anything_on(standing: Standing) -> bool:
    return bool(standing.phases or standing.claims or standing.contracts)


def _print(standing: Standing) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in standing.phase_counts().items())
    print_line(f"board {standing.board.name}, revision {standing.board.revision}")
    print_line(
        f"{plural(len(standing.phases), 'phase')}{counts and f' ({counts})'}, "
        f"{plural(len(standing.claims), 'claim')}, {plural(len(standing.contracts), 'contract')}"
    )
    claims, contracts = _per_phase(standing)
    now = datetime.now(UTC)
    if standing.phases:
        print_line("")
        print_table(
            [
                *(Column("phase"), Column("state"), Column("worker"), Column("age", right=True)),
                *(Column("claims", right=True), Column("contracts", right=True)),
            ],
            [
                (
                    *(phase.phase_id, phase.state, phase.worker, age(phase.updated_at, now)),
                    *(str(claims[phase.phase_id]), str(contracts[phase.phase_id])),
                )
                for phase in standing.phases
            ],
        )


def _per_phase(standing: Standing) -> tuple[Counter[str], Counter[str]]:
    claims = Counter(claim.owner for claim in standing.claims)
    contracts = Counter(contract.producer for contract in standing.contracts)
    return claims, contracts


def _record(standing: Standing) -> dict[str, object]:
    claims, contracts = _per_phase(standing)
    return {
        "board": asdict(standing.board),
        "states": standing.phase_counts(),
        "claims": len(standing.claims),
        "contracts": len(standing.contracts),
        "phases": [
            asdict(phase)
            | {"claims": claims[phase.phase_id], "contracts": contracts[phase.phase_id]}
            for phase in standing.phases
        ],
    }
