"""`board top`: its view, and its behaviour in a terminal."""

import io
import re
import signal
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from board_client import BoardClient
from board_client.cli.screen import draw
from board_client.cli.view import Lost, Sessions, View
from board_client.model import (
    Change,
    Contract,
    Event,
    EventCause,
    FileClaim,
    OnExpiry,
    Phase,
    Session,
    Snapshot,
)
from tests.cli.terminal import terminal
from tests.support.servers import server_process

NOW = datetime(2026, 2, 23, 5, 3, 45, tzinfo=UTC)


def phase(name, state, worker="", session="", minute=0):
    moment = NOW + timedelta(minutes=minute)
    return Phase(name, state, worker, moment, moment, session)


def session(worker, left):
    seconds = timedelta(seconds=left)
    return Session(f"id-{worker}", worker, timedelta(seconds=30), NOW + seconds, OnExpiry.FAIL)


def board_of(phases=(), contracts=(), claims=(), sessions=()):
    return Snapshot(7, "id", list(phases), list(contracts), list(claims), list(sessions))


def drawn(view, width=80, height=24):
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None)
    console.print(draw(view, width, height, NOW))
    return out.getvalue().removesuffix("\n").split("\n")


A_BOARD = board_of(
    [
        phase("store", "running", "w1", "id-w1"),
        phase("by-hand", "running", "someone"),
        phase("model", "done", minute=1),
        phase("tests", "queued", minute=2),
    ],
    [Contract("model", "type", "T", id=1)],
    [FileClaim("go.mod", "store", NOW)],
    [session("w1", 12), session("idle", 29)],
)


def test_it_shows_phases_by_state_workers_with_their_time_left_and_claims():
    lines = drawn(View("b1", A_BOARD))
    shown = "\n".join(lines)
    assert lines[0].startswith("b1  revision 7  4 phases, 1 claim, 1 contract")
    headings = lines[2].strip("│ ").split("  ")
    assert [each.strip() for each in headings if each] == ["1 queued", "2 running", "1 done"]
    assert re.search(r"w1  store +12s ━", shown)
    assert re.search(r"idle +29s ━", shown)
    assert re.search(r"someone  by-hand +no session", shown)
    assert re.search(r"go\.mod +store", shown)


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (50, 14), (20, 6), (1, 1), (300, 100)])
@pytest.mark.parametrize("count", [0, 3, 500])
def test_it_fits_a_terminal_of_any_size_whatever_is_on_the_board(size, count):
    width, height = size
    states = ["queued", "polling", "running", "blocked", "done", "failed", "human_decision"]
    view = View(
        "b" * 100,
        board_of(
            [phase(f"界phase-{n}", states[n % 7], f"w{n}", f"id-w{n}") for n in range(count)],
            [],
            [FileClaim(f"a/long/界/path/to/{n:03}\n.go", f"phase-{n}", NOW) for n in range(count)],
            [session(f"w{n}", n) for n in range(count)],
        ),
        [event(n, "phase", phase(f"phase-{n}\x1b[2J", "queued")) for n in range(count)],
    )
    lines = drawn(view, width, height)
    assert len(lines) <= max(height, 1)
    console = Console(width=width)
    assert all(console.measure(line).maximum <= width for line in lines)
    assert "\x1b" not in "".join(lines)


def test_phases_that_do_not_fit_are_counted():
    many = board_of([phase(f"p{n}", "queued", minute=n) for n in range(100)])
    shown = "\n".join(drawn(View("b", many)))
    assert "100 queued" in shown
    assert "p0 " in shown
    assert "95 more" in shown


def test_ended_phases_are_shown_latest_first():
    done = board_of([phase(f"p{n}", "done", minute=n) for n in range(100)])
    shown = "\n".join(drawn(View("b", done)))
    assert "p99 " in shown
    assert "p0 " not in shown


def event(revision, change, record, cause=EventCause.CALL):
    return Event(revision, NOW, cause, Change(change), record)


def test_the_latest_events_are_shown_a_line_for_each_call_and_why_it_happened():
    view = View("b", A_BOARD)
    view.take(event(8, "claimed", FileClaim("a.go", "store", NOW)))
    expired = EventCause.SESSION_EXPIRED
    view.take(event(9, "released", FileClaim("a.go", "store", NOW), expired))
    view.take(event(9, "phase", phase("store", "failed", "w1"), expired))
    view.take(event(9, "session_ended", session("w1", 0), expired))
    lines = drawn(view)
    assert "05:03:45Z  store claimed a.go" in lines[-4]
    assert "05:03:45Z  session expired: store is failed, worker w1, and 2 more" in lines[-3]
    assert "revision 9" in lines[0]
    assert "1 failed" in lines[2]


def test_renewed_sessions_and_an_unavailable_server_are_shown():
    view = View("b", A_BOARD)
    view.take(Lost())
    assert drawn(view)[0].endswith("reconnecting")
    view.take(Sessions([session("w1", 30)]))
    assert not drawn(view)[0].endswith("reconnecting")
    assert "w1  store" in "\n".join(drawn(view))
    assert " 30s ━━━━━━━━" in "\n".join(drawn(view))
    assert "idle" not in "\n".join(drawn(view))


def test_another_snapshot_replaces_all_before_it():
    view = View("b", A_BOARD)
    view.take(board_of([phase("new", "queued")]))
    shown = "\n".join(drawn(view))
    assert "new" in shown
    assert "w1" not in shown


def test_once_draws_one_picture_into_a_pipe(board):
    board.client.set_phase_state("p1", "running", worker="w1")
    once = board("top", "--once", COLUMNS="80", LINES="24")
    assert (once.code, once.err) == (0, "")
    assert len(once.out.splitlines()) == 24
    assert f"{board.name}  revision 1" in once.out
    assert "p1 is running, worker w1" in once.out, "what happened last is known"
    assert "\x1b" not in once.out


def test_without_a_terminal_one_line_says_so(unopened):
    refused = unopened("top")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "board: top needs a terminal; `board top --once` draws once\n"


def test_it_follows_the_board_over_a_restart_of_the_server_until_q_is_pressed(tmp_path):
    directory = tmp_path / "boards"
    with (
        server_process(directory) as server,
        terminal("--target", server.address, "top") as shown,
    ):
        shown.shows("revision 0")
        with BoardClient(server.address) as client:
            client.set_phase_state("first", "running")
        shown.shows("first is running")
        server.kill()
        shown.shows("reconnecting")
        with (
            server_process(directory, listen=server.address),
            BoardClient(server.address) as client,
        ):
            client.set_phase_state("second", "queued")
            shown.shows("second is queued")
            shown.presses("q")
            assert shown.ends() == (0, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_terminal_as_it_was(board, number, code):
    with terminal("--target", board.target, "--board", board.name, "top") as shown:
        shown.shows("revision 0")
        shown.process.send_signal(number)
        assert shown.ends() == (code, True)
