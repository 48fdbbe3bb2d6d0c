"""A live view of a board in the terminal, and a summary of it at the end."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nebula import Nebula
from rich.console import Console
from rich.live import Live
from rich.table import Table

from board_client import BoardClient, ContractKind, Phase, PhaseState

PERIOD = 0.1
"""Seconds between two looks at the board."""

STYLES = {
    PhaseState.QUEUED: "dim",
    PhaseState.RUNNING: "yellow",
    PhaseState.BLOCKED: "magenta",
    PhaseState.DONE: "green",
    PhaseState.FAILED: "bold red",
}


def watch(
    console: Console, board: BoardClient, nebula: Nebula, goes_on: Callable[[], bool]
) -> None:
    """Show the board while it goes on: as a table in a terminal, else a line for each change."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for _ in _looks(goes_on):
                live.update(_table(board, nebula), refresh=True)
        return
    seen: dict[str, Phase] = {}
    for _ in _looks(goes_on):
        for phase in board.list_phases():
            before = seen.get(phase.phase_id)
            if before is None or before.state != phase.state:
                worker = f" ({phase.worker})" if phase.state == PhaseState.RUNNING else ""
                console.print(f"{phase.phase_id}: {phase.state}{worker}", highlight=False)
            seen[phase.phase_id] = phase


def _looks(goes_on: Callable[[], bool]) -> Iterator[None]:
    """Yield again and again, and once more after the end."""
    while goes_on():
        yield
        time.sleep(PERIOD)
    yield


def _table(board: BoardClient, nebula: Nebula) -> Table:
    phases = {phase.phase_id: phase for phase in board.list_phases()}
    claims = Counter(claim.owner for claim in board.list_claims())
    contracts = Counter(contract.producer for contract in board.all_contracts())
    table = Table(title=f"board {nebula.name}", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("phase", "state", "worker"):
        table.add_column(column, no_wrap=True)
    for column in ("claims", "contracts"):
        table.add_column(column, justify="right")
    for planned in nebula.phases:
        phase = phases.get(planned.id)
        state = phase.state if phase else PhaseState.UNSPECIFIED
        table.add_row(
            planned.id,
            state,
            phase.worker if phase and state == PhaseState.RUNNING else "",
            str(claims[planned.id] or ""),
            str(contracts[planned.id] or ""),
            style=STYLES.get(state, ""),
        )
    return table


def summarize(console: Console, board: BoardClient, nebula: Nebula, repository: Path) -> bool:
    """Print what the board holds.

    Tell whether every phase is done and has left contracts, and no file is claimed.
    """
    phases = board.list_phases()
    contracts = board.all_contracts()
    claims = board.list_claims()
    files = {c.name: c.producer for c in contracts if c.kind == ContractKind.FILE}
    written = sum((repository / file).is_file() for file in files)
    console.print(f"\n[bold]Board {nebula.name}[/]")
    console.print(f"Phases: {_counts(phase.state for phase in phases)}")
    console.print(f"Claims: {', '.join(claim.filepath for claim in claims) or 'none'}")
    console.print(f"Contracts: {_counts(contract.kind for contract in contracts)}")
    console.print(f"Files, each with the phase that wrote it last ({written} are there):")
    for file, producer in sorted(files.items()):
        console.print(f"  {file}  [dim]{producer}[/]", highlight=False, soft_wrap=True)
    done = {phase.phase_id for phase in phases if phase.state == PhaseState.DONE}
    planned = {phase.id for phase in nebula.phases}
    return done == planned == {contract.producer for contract in contracts} and not claims


def _counts(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items()) or "none"
