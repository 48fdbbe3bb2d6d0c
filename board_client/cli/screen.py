"""The view that `board top` draws, for a terminal of any size."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, zip_longest

from rich.box import ROUNDED
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from board_client.cli.duration import written
from board_client.cli.event_line import happened
from board_client.cli.output import STYLES, plural
from board_client.cli.view import View
from board_client.cli.visible import visible
from board_client.model import Event, EventCause, FileClaim, Phase, PhaseState, Session, Snapshot

Row = tuple[Text, ...]

_FRAME_HEIGHT = 2
_FRAME_WIDTH = 4
_BAR = 8

# Phases in these states are shown latest first; all others in the order of the board.
_ENDED = (PhaseState.DONE, PhaseState.FAILED, PhaseState.DECOMPOSED)


def draw(view: View, width: int, height: int, now: datetime) -> RenderableType:
    """Return the view, `width` columns wide and `height` lines high. `now` is UTC."""
    board = view.board()
    body = max(0, height - 1)
    phases = max(4, body * 2 // 5)
    events = max(3, body // 4)
    middle = max(3, body - phases - events)
    half = width // 2
    picture = Layout()
    picture.split_column(
        Layout(_header(view, board), size=1),
        Layout(_panel("phases", _phases(board.phases, phases - _FRAME_HEIGHT)), size=phases),
        Layout(name="middle", size=middle),
        Layout(_panel("events", _events(view.events, events - _FRAME_HEIGHT)), size=events),
    )
    room = middle - _FRAME_HEIGHT
    picture["middle"].split_row(
        Layout(_panel("workers", _workers(board, view.sessions, room, now)), size=half),
        Layout(_panel("claims", _claims(board.claims, room, width - half - _FRAME_WIDTH))),
    )
    return picture


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", box=ROUNDED, border_style="dim")


def _header(view: View, board: Snapshot) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(no_wrap=True, justify="right")
    summary = Text.assemble(
        (visible(view.name), "bold"),
        f"  revision {board.revision}  ",
        (
            f"{plural(len(board.phases), 'phase')}, {plural(len(board.claims), 'claim')}, "
            f"{plural(len(board.contracts), 'contract')}",
            "dim",
        ),
    )
    state = Text("  q quits", "dim") if view.connected else Text("  reconnecting", "bold yellow")
    line.add_row(summary, state)
    return line


def _phases(phases: Sequence[Phase], room: int) -> RenderableType:
    columns = []
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for state in PhaseState:
        those = [phase for phase in phases if phase.state == state]
        if not those:
            continue
        if state in _ENDED:
            those.sort(key=lambda phase: phase.updated_at, reverse=True)
        style = STYLES.get(state, "")
        heading = Text(f"{len(those)} {state or 'unknown'}", f"bold {style}")
        names: list[Row] = [(Text(visible(phase.phase_id), style),) for phase in those]
        columns.append([heading, *(name for (name,) in _first(names, room - 1))])
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for row in zip_longest(*columns, fillvalue=Text()):
        table.add_row(*row)
    return table


def _workers(
    board: Snapshot, sessions: Sequence[Session], room: int, now: datetime
) -> RenderableType:
    running = [phase for phase in board.phases if phase.state == PhaseState.RUNNING]
    rows: list[Row] = []
    for session in sorted(sessions, key=lambda each: (each.worker, each.session_id)):
        theirs = [phase for phase in running if phase.session_id == session.session_id]
        rows.append((_worker(session.worker, theirs), _time_left(session, now)))
    alive = {session.session_id for session in sessions}
    rows += [
        (_worker(phase.worker, [phase]), Text("no session", "dim"))
        for phase in running
        if phase.session_id not in alive
    ]
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    for row in _first(rows, room):
        table.add_row(*row)
    return table


def _worker(name: str, phases: Iterable[Phase]) -> Text:
    at = ", ".join(phase.phase_id for phase in phases)
    return Text.assemble(visible(name or "?"), (visible(f"  {at}"), "cyan"))


def _time_left(session: Session, now: datetime) -> Text:
    """Return the time until the session expires, with a bar."""
    # The clock of the server may be ahead of ours, or behind.
    left = min(max(session.expires_at - now, timedelta()), session.ttl)
    part = left / session.ttl if session.ttl else 0.0
    full = round(part * _BAR)
    style = "green" if part > 1 / 2 else "yellow" if part > 1 / 4 else "red"
    seconds = timedelta(seconds=int(left.total_seconds()))
    return Text.assemble(
        f"{written(seconds)} ", ("━" * full, style), ("━" * (_BAR - full), "bright_black")
    )


def _claims(claims: Sequence[FileClaim], room: int, width: int) -> RenderableType:
    owners = min(
        max((cell_len(visible(claim.owner)) for claim in claims[:room]), default=0), width // 3
    )
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, ratio=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(1, owners))
    rows: list[Row] = [
        (Text(_end_of(visible(claim.filepath), width - owners - 2)), Text(visible(claim.owner)))
        for claim in claims
    ]
    for row in _first(rows, room):
        table.add_row(*row)
    return table


def _end_of(path: str, width: int) -> str:
    """Return a path; if it is too wide, cut its beginning, which matters less than its end."""
    if cell_len(path) <= width:
        return path
    while path and cell_len(path) >= width:
        path = path[1:]
    return f"…{path}"


def _events(events: Iterable[Event], room: int) -> RenderableType:
    """Return the latest events, oldest first, one line for each call."""
    calls = [list(those) for _, those in groupby(events, lambda event: event.revision)]
    return Group(*map(_call, calls[-room:]))


def _call(events: Sequence[Event]) -> Text:
    """Return one line for the events of one call, about its phase if it has one."""
    main = next((event for event in events if isinstance(event.record, Phase)), events[0])
    more = f", and {len(events) - 1:,} more" if len(events) > 1 else ""
    why = "" if main.cause == EventCause.CALL else f"{main.cause.replace('_', ' ')}: "
    return Text.assemble(
        (main.time.astimezone(UTC).strftime("%H:%M:%SZ  "), "dim"),
        (why, "yellow"),
        visible(happened(main)),
        (more, "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )


def _first(rows: Sequence[Row], room: int) -> list[Row]:
    """Return the rows that fit; if not all do, the last one counts the rest."""
    if len(rows) <= room:
        return list(rows)
    kept = max(0, room - 1)
    return [*rows[:kept], (Text(f"{len(rows) - kept:,} more", "dim italic"),)][: max(0, room)]
