"""`board top`: a live view of a board."""

import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from board_client.cli.connection import connect
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
    once: Annotated[bool, typer.Option("--once", help="Draw it once, and end.")] = False,
) -> None:
    """Show a board live: phases by state, workers and their time left, claims, events.

    q or Ctrl-C leaves. It goes on over restarts of the server.
    """
    given = settings(ctx, json=False)
    if not (once or sys.stdout.isatty()):
        raise Failure("top needs a terminal; `board top --once` draws once", ExitCode.BAD_INPUT)
    with connect(given) as client:
        if once:
            _draw_once(_view(client, client.get_snapshot()))
        else:
            with _saying(f"connecting to {given.target} ..."):
                client.list_boards()  # fails sooner than a watch where there is no server
                items = client.watch_from_snapshot()
                first = next(items)
                assert isinstance(first, Snapshot)
                view = _view(client, first)
            _show(view, _Updates(client, items))


@contextmanager
def _saying(text: str) -> Iterator[None]:
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
    """What two threads hear of a board: its events, and each second its sessions."""

    def __init__(self, client: "BoardClient", items: Iterable[Snapshot | Event]) -> None:
        self._heard: SimpleQueue[Update | BaseException] = SimpleQueue()
        for listen in (lambda: self._follow(items), lambda: self._ask(client)):
            threading.Thread(target=listen, name="top", daemon=True).start()

    def __iter__(self) -> Iterator[Update]:
        """Yield what was heard since the last time. Raises what ended the listening."""
        while True:
            try:
                heard = self._heard.get_nowait()
            except Empty:
                return
            if isinstance(heard, BaseException):
                raise heard
            yield heard

    def _follow(self, items: Iterable[Snapshot | Event]) -> None:
        try:
            for item in items:
                self._heard.put(item)
        except BaseException as error:
            self._heard.put(error)

    def _ask(self, client: "BoardClient") -> None:
        from board_client.errors import BoardError  # noqa: PLC0415  it imports grpc

        while True:
            try:
                self._heard.put(Sessions(client.within(2 * _SECOND).list_sessions()))
            except BoardError:
                self._heard.put(Lost())
            time.sleep(_SECOND)


def _show(view: View, updates: Iterable[Update]) -> None:
    """Draw the view, whenever it changes, until q is pressed."""
    from rich.console import Console  # noqa: PLC0415  only what draws pays for its import
    from rich.live import Live  # noqa: PLC0415

    from board_client.cli.screen import draw  # noqa: PLC0415  likewise

    signal.signal(signal.SIGTERM, _stop)  # the terminal is to be left as it was
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # likewise
    console = Console()
    drawn = (0, 0)
    with keys() as key, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            news = list(updates)
            for update in news:
                view.take(update)
            size = (console.width, console.height)
            if news or size != drawn:
                live.update(draw(view, *size, datetime.now(UTC)), refresh=True)
                drawn = size
            if key(_TICK) in ("q", "Q"):
                return


def _stop(_number: int, _frame: object) -> NoReturn:
    raise typer.Exit(128 + signal.SIGTERM)
