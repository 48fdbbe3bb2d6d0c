"""`board status`: a summary of a board."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from board_client.cli.connection import connect_board
from board_client.cli.failure import Failure
from board_client.cli.output import Answer, Column, Table, age, fields_of, plural
from board_client.cli.settings import settings
from board_client.model import BoardInfo, Contract, FileClaim, Phase, PhaseState

if TYPE_CHECKING:
    from board_client.sync import BoardClient


@dataclass(frozen=True, slots=True)
class Standing:
    """The content of one board at one revision."""

    board: BoardInfo
    phases: Sequence[Phase]
    claims: Sequence[FileClaim]
    contracts: Sequence[Contract]

    def phase_counts(self) -> dict[str, int]:
        """Return how many phases are in each state that has any."""
        counts = Counter(phase.state for phase in self.phases)
        return {state: counts[state] for state in PhaseState if counts[state]}


def status(ctx: typer.Context) -> Answer:
    """Show a summary of a board.

    It has the revision, the phases, and the number of claims and contracts.
    """
    with connect_board(settings(ctx)) as client:
        standing = _read(client)
    return Answer(_record(standing), _text(standing))


def _read(client: "BoardClient") -> Standing:
    found = client.get_snapshot()
    boards = {board.board_id: board for board in client.list_boards()}
    if found.board_id not in boards:
        raise Failure("the board was replaced while it was read; try again")
    board = replace(boards[found.board_id], revision=found.revision)
    return Standing(board, found.phases, found.claims, found.contracts)


def _text(standing: Standing) -> list[str | Table]:
    counts = ", ".join(f"{count} {state}" for state, count in standing.phase_counts().items())
    lines: list[str | Table] = [
        f"board {standing.board.name}, revision {standing.board.revision}",
        f"{plural(len(standing.phases), 'phase')}{counts and f' ({counts})'}, "
        f"{plural(len(standing.claims), 'claim')}, {plural(len(standing.contracts), 'contract')}",
    ]
    return [*lines, "", _table(standing)] if standing.phases else lines


def _table(standing: Standing) -> Table:
    claims, contracts = _per_phase(standing)
    now = datetime.now(UTC)
    return Table(
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
        "board": standing.board,
        "states": standing.phase_counts(),
        "claims": len(standing.claims),
        "contracts": len(standing.contracts),
        "phases": [
            fields_of(phase)
            | {"claims": claims[phase.phase_id], "contracts": contracts[phase.phase_id]}
            for phase in standing.phases
        ],
    }
