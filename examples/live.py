"""A live view of a board in the terminal, and a summary at the end."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from nebula import Nebula
from rich.console import Console
from rich.live import Live
from rich.table import Table

from board_client import (
    BoardClient,
    BoardError,
    Change,
    Contract,
    ContractKind,
    Event,
    FileClaim,
    Phase,
    PhaseState,
    Snapshot,
)

STYLES = {
    PhaseState.QUEUED: "dim",
    PhaseState.RUNNING: "yellow",
    PhaseState.BLOCKED: "magenta",
    PhaseState.DONE: "green",
    PhaseState.FAILED: "bold red",
}


class Replica:
    """A copy of the board, kept up to date by a watch from a snapshot."""

    def __init__(self) -> None:
        self.revision = -1
        self.phases: dict[str, Phase] = {}
        self.owners: dict[str, str] = {}
        self.producers: dict[int, str] = {}

    def apply(self, update: Snapshot | Event) -> None:
        """Apply a snapshot or an event."""
        self.revision = update.revision
        match update:
            case Snapshot():
                self.phases = {phase.phase_id: phase for phase in update.phases}
                self.owners = {claim.filepath: claim.owner for claim in update.claims}
                self.producers = {contract.id: contract.producer for contract in update.contracts}
            case Event(change=Change.PHASE, record=Phase() as phase):
                self.phases[phase.phase_id] = phase
            case Event(change=Change.CONTRACT, record=Contract() as contract):
                self.producers[contract.id] = contract.producer
            case Event(change=Change.CLAIMED, record=FileClaim() as claim):
                self.owners[claim.filepath] = claim.owner
            case Event(change=Change.RELEASED, record=FileClaim() as claim):
                del self.owners[claim.filepath]
            case Event(change=Change.PHASE_REMOVED, record=Phase() as phase):
                del self.phases[phase.phase_id]
            case Event(change=Change.CONTRACT_REMOVED, record=Contract() as contract):
                del self.producers[contract.id]


def watch(
    console: Console, board: BoardClient, nebula: Nebula, until: Callable[[], object]
) -> None:
    """Show the board until `until` returns, including the last change before that.

    A terminal shows a table; other output gets one line for each change.
    """
    replicas = _replicas(board, until)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for replica in replicas:
                live.update(_table(replica, nebula), refresh=True)
        return
    seen: dict[str, PhaseState] = {}
    for replica in replicas:
        for phase in replica.phases.values():
            if seen.get(phase.phase_id) != phase.state:
                worker = f" ({phase.worker})" if phase.state == PhaseState.RUNNING else ""
                console.print(f"{phase.phase_id}: {phase.state}{worker}", highlight=False)
            seen[phase.phase_id] = phase.state


def _replicas(board: BoardClient, until: Callable[[], object]) -> Iterator[Replica]:
    """Yield the board after each change, up to the last one before `until` returned."""
    arrivals: SimpleQueue[Snapshot | Event | None] = SimpleQueue()
    updates = board.watch_from_snapshot()

    def follow() -> None:
        with suppress(BoardError):  # the client was closed, or the watch cannot resume
            for update in updates:
                arrivals.put(update)
        arrivals.put(None)

    def wait() -> None:
        until()
        arrivals.put(None)

    for waits in (follow, wait):
        threading.Thread(target=waits, daemon=True).start()
    replica = Replica()
    while arrived := arrivals.get():
        replica.apply(arrived)
        yield replica
    last = board.open_board().revision
    while replica.revision < last and (arrived := arrivals.get()):
        replica.apply(arrived)
        yield replica


def _table(replica: Replica, nebula: Nebula) -> Table:
    claims = Counter(replica.owners.values())
    contracts = Counter(replica.producers.values())
    table = Table(title=f"board {nebula.name}", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("phase", "state", "worker"):
        table.add_column(column, no_wrap=True)
    for column in ("claims", "contracts"):
        table.add_column(column, justify="right")
    for planned in nebula.phases:
        phase = replica.phases.get(planned.id)
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
    """Print a summary of the board.

    Return whether every phase is done and has published contracts, and no file is claimed.
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
    console.print(f"Files, each with the phase that wrote it last ({written} exist):")
    for file, producer in sorted(files.items()):
        console.print(f"  {file}  [dim]{producer}[/]", highlight=False, soft_wrap=True)
    done = {phase.phase_id for phase in phases if phase.state == PhaseState.DONE}
    planned = {phase.id for phase in nebula.phases}
    return done == planned == {contract.producer for contract in contracts} and not claims


def _counts(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items()) or "none"
