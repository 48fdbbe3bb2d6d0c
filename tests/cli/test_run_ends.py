"""When its session is lost, a command and all processes that it has started are ended."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.conftest import COMMAND
from tests.cli.terminal import terminal

AS_P1 = ("run", "--session", "--phase", "p1", "--grace", "300ms")

STUBBORN = {"STUBBORN": "trap '' TERM HUP; echo pid $$; while :; do sleep 0.05; done"}
STARTS = {
    "a child that ignores SIGTERM": 'sh -c "$STUBBORN"; :',
    "a child that outlives the command": 'sh -c "$STUBBORN" & read line',
    "a child in a session of its own": 'setsid sh -c "$STUBBORN" & wait',
    "an orphan": '(setsid sh -c "$STUBBORN" &); read line',
}


def lose_session(board):
    (session,) = board.client.list_sessions()
    board.client.close_session(session.session_id)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("script", STARTS.values(), ids=STARTS)
def test_all_that_a_command_has_started_ends_with_its_session(board, script):
    with board.start(*AS_P1, "--ttl", "1s", "--", "sh", "-c", script, **STUBBORN) as run:
        pid = int(run.stdout.readline().removeprefix("pid "))
        lose_session(board)
        assert run.wait(timeout=60) == 6
        assert not is_alive(pid)


@pytest.mark.parametrize("script", STARTS.values(), ids=STARTS)
def test_in_a_terminal_too_all_that_a_command_has_started_ends_with_its_session(board, script):
    where = ("--target", board.target, "--board", board.name)
    command = (*AS_P1, "--ttl", "1s", "--", "sh", "-c", script)
    with terminal(*where, *command, **STUBBORN) as shown:
        pid = shown.shows_number("pid")
        lose_session(board)
        assert shown.process.wait(timeout=60) == 6
        assert not is_alive(pid)


@pytest.mark.parametrize("shell", ["", "bash --norc --noprofile -i -c"])
def test_the_terminal_of_a_command_that_was_killed_is_as_it_was(board, shell):
    where = ("--target", board.target, "--board", board.name)
    raw = "trap '' TERM HUP; stty raw -echo; echo pid $$ 1; while :; do sleep 0.05; done"
    command = (*AS_P1, "--ttl", "1s", "--", *(shell or "sh -c").split(), raw)
    with terminal(*where, *command) as shown:
        shown.shows("pid ")
        assert not shown.is_as_it_was()
        lose_session(board)
        assert shown.process.wait(timeout=60) == 6
        assert shown.is_as_it_was()


def test_background_processes_of_a_command_end_if_the_session_ended_before_it(board):
    leave = '(setsid sh -c "$STUBBORN" &); read line'
    close = f"{COMMAND} session close $BOARD_SESSION > /dev/null"
    script = f"{leave}; {close}"
    with board.start(*AS_P1, "--ttl", "1h", "--", "sh", "-c", script, **STUBBORN) as run:
        pid = int(run.stdout.readline().removeprefix("pid "))
        _, err = run.communicate("go on\n", timeout=60)
        assert (run.returncode, err.count("board: session")) == (6, 1)
        assert not is_alive(pid)


def test_background_processes_of_a_command_survive_if_the_session_has_not_ended(board):
    with board.start(*AS_P1, "--", "sh", "-c", "sleep 600 & echo $!") as run:
        pid = int(run.stdout.readline())
        try:
            assert run.wait(timeout=60) == 0
            assert is_alive(pid)
        finally:
            os.kill(pid, 9)


# Starts more processes than it may have files open, ends them, and prints what ended them.
MANY = """
import resource, subprocess
from board_client.cli.descendants import end_descendants
started = [subprocess.Popen(["sleep", "600"]) for _ in range(40)]
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
try:
    end_descendants(grace=60)
finally:
    for process in started:
        process.kill()
print({process.wait() for process in started})
"""


def test_more_processes_than_files_that_may_be_open_all_get_sigterm():
    ended = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True)
    assert ended.stdout == f"{{{-signal.SIGTERM}}}\n"


# Waits until the process that started it has no zombie among its children.
NO_ZOMBIES = """
import os, pathlib
def zombies():
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        yield state == "Z" and int(parent) == os.getppid()
while any(zombies()):
    pass
print("none")
"""


def test_processes_that_lost_their_parents_are_not_left_as_zombies(board):
    script = '(true &); exec "$0" -c "$1"'
    command = ("sh", "-c", script, sys.executable, NO_ZOMBIES)
    ended = board(*AS_P1, "--", *command)
    assert (ended.code, ended.out) == (0, "none\n")


def test_the_keys_of_a_terminal_stop_continue_and_interrupt_the_command(board):
    work = "trap 'echo got INT; exit 7' INT; while :; do echo works; sleep 0.05; done"
    where = f"--target {board.target} --board {board.name}"
    with terminal("--norc", "--noprofile", "-i", program="bash", PS1="prompt$ ", HISTFILE="") as sh:
        sh.shows("prompt$ ")
        sh.presses(f'{COMMAND} {where} run --session --phase p1 -- sh -c "{work}"\n')
        sh.shows("works\r\n")
        sh.presses("\x1a")
        sh.shows("Stopped")
        sh.shows("prompt$ ")
        sh.presses("fg\n")
        sh.shows("works\r\n")
        sh.presses("\x03")
        sh.shows("got INT\r\n")
        sh.shows("prompt$ ")
        sh.presses("echo code $?\n")
        sh.shows("code 7\r\n")
    assert board.client.get_phase_state("p1") == "failed"


def test_a_command_reads_the_keys_that_are_pressed(board):
    where = ("--target", board.target, "--board", board.name)
    script = 'echo ready; read line; echo "read $line"'
    with terminal(*where, *AS_P1, "--", "sh", "-c", script) as shown:
        shown.shows("ready")
        shown.presses("hello\n")
        shown.shows("read hello")
        assert shown.process.wait(timeout=60) == 0
