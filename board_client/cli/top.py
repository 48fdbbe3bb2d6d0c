"""`board top`: a live view of a board."""

import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from board_client.cli.connection import connect_board
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.keyboard import keys
from board_client.cli.output import print_line
from board_client.cli.settings import settings
from board_client.cli.view import Lost, Sessions, Update, View
from board_client.cli.visible import visible
from board_client.model import Event, Snapshot

if TYPE_CHECKING:
    from board_client.sync import BoardClient

_TICK = 0.1
_SECOND = 1.0
_REVISIONS_BACK = 20


def top(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Draw the view once and exit.")] = False,
) -> None:
    """Show a board live.

    The view has phases by state, workers and their time left, claims and events. q or
    Ctrl-C quits. The view resumes when the server restarts.
    """
    given = settings(ctx)
    if not (once or sys.stdout.isatty()):
        raise Failure("top needs a terminal; `board top --once` draws once", ExitCode.BAD_INPUT)
    with ExitStack() as connected:
        if once:
            client = connected.enter_context(connect_board(given))
            _draw_once(_view(client, client.get_snapshot()))
            return
        with _line_shown(f"connecting to {given.target} ..."):
            client = connected.enter_context(connect_board(given))
            client.list_boards()  # fails sooner than a watch if there is no server
            items = client.watch_from_snapshot()
            first = next(items)
            assert isinstance(first, Snapshot)
            view = _view(client, first)
        _show(view, _Updates(client, items))


@contextmanager
def _line_shown(text: str) -> Iterator[None]:
    """Show a line in the terminal during the block."""
    print(visible(text), end="", flush=True)  # noqa: T201
    try:
        yield
    finally:
        print("\r\x1b[K", end="", flush=True)  # noqa: T201


def _view(client: "BoardClient", board: Snapshot) -> View:
    ids = {info.board_id: info.name for info in client.list_boards()}
    return View(ids.get(board.board_id, client.board), board, _recent(client, board.revision))


def _recent(client: "BoardClient", revision: int) -> list[Event]:
    from board_client.errors import RevisionCompacted  # noqa: PLC0415  it imports grpc

    try:
        return client.events(max(0, revision - _REVISIONS_BACK), revision)
    except RevisionCompacted as error:
        return client.events(min(error.oldest_revision, revision), revision)


def _draw_once(view: View) -> None:
    from rich.console import Console  # noqa: PLC0415  only what draws pays for its import

    from board_client.cli.screen import draw  # noqa: PLC0415  likewise

    console = Console()
    with console.capture() as drawn:
        console.print(draw(view, console.width, console.height, datetime.now(UTC)))
    print_line(drawn.get().removesuffix("\n"))


class _Updates:
    """Updates of a board from two threads: its events, and each second its sessions."""

    def __init__(self, client: "BoardClient", items: Iterable[Snapshot | Event]) -> None:
        self._updates: SimpleQueue[Update | BaseException] = SimpleQueue()
        for run in (lambda: self._follow(items), lambda: self._poll_sessions(client)):
            threading.Thread(target=run, name="top", daemon=True).start()

    def __iter__(self) -> Iterator[Update]:
        """Yield the updates since the last time. Raises the error that ended a thread."""
        while True:
            try:
                update = self._updates.get_nowait()
            except Empty:
                return
            if isinstance(update, BaseException):
                raise update
            yield update

    def _follow(self, items: Iterable[Snapshot | Event]) -> None:
        try:
            for item in items:
                self._updates.put(item)
        except BaseException as error:
            self._updates.put(error)

    def _poll_sessions(self, client: "BoardClient") -> None:
        from board_client.errors import BoardError  # noqa: PLC0415  it imports grpc

        while True:
            try:
                self._updates.put(
                    Sessions(client.with_options(timeout=2 * _SECOND).list_sessions())
                )
            except BoardError:
                self._updates.put(Lost())
            time.sleep(_SECOND)


def _show(view: View, updates: Iterable[Update]) -> None:
    """Draw the view whenever it changes, until q is pressed."""
    from rich.console import Console  # noqa: PLC0415  only what draws pays for its import
    from rich.live import Live  # noqa: PLC0415

    from board_client.cli.screen import draw  # noqa: PLC0415  likewise

    signal.signal(signal.SIGTERM, _stop)  # restores the terminal
    signal.signal(
        signal.SIGTSTP, signal.SIG_IGN
    )  # a stopped view would leave the terminal in raw mode
    console = Console()
    drawn = (0, 0)
    with keys() as key, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            received = list(updates)
            for update in received:
                view.take(update)
            size = (console.width, console.height)
            if received or size != drawn:
                live.update(draw(view, *size, datetime.now(UTC)), refresh=True)
                drawn = size
            if key(_TICK) in ("q", "Q"):
                return


def _stop(_number: int, _frame: object) -> NoReturn:
    raise typer.Exit(128 + signal.SIGTERM)
