"""`board run`: a command as a worker."""

import os
import select
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from board_client import BoardClient, FileFree, PhaseIn
from board_client.cli.failure import Failure
from board_client.cli.take import take
from tests.cli.conftest import COMMAND, started
from tests.support.servers import server_process

AS_P1 = ("run", "--session", "--phase", "p1", "--claim", "a.go", "--claim", "b.go")


def script(text):
    return ("--", "sh", "-c", text)


def test_a_command_runs_in_a_session_with_its_phase_running_and_its_files_claimed(board):
    names = ["BOARD_TARGET", "BOARD_NAME", "BOARD_WORKER", "QUASAR_TASK_ID", "BOARD_SESSION"]
    show = "; ".join(f"echo ${name}" for name in names)
    with board.start(*AS_P1, "--worker", "w1", *script(f"{show}; read line; exit 0")) as run:
        address, name, worker, phase, session_id = (run.stdout.readline().strip() for _ in names)
        assert (address, name, worker, phase) == (board.target, board.name, "w1", "p1")

        (session,) = board.client.list_sessions()
        assert (session.session_id, session.worker) == (session_id, "w1")
        running = board.client.get_phase("p1")
        assert (running.state, running.worker, running.session_id) == ("running", "w1", session_id)
        claims = {(c.filepath, c.owner, c.session_id) for c in board.client.list_claims()}
        assert claims == {("a.go", "p1", session_id), ("b.go", "p1", session_id)}

        out, err = run.communicate("go on\n", timeout=60)
        assert (run.returncode, out, err) == (0, "", "")
    assert board.client.get_phase_state("p1") == "done"
    assert board.client.list_claims() == []
    assert board.client.list_sessions() == []


@pytest.mark.parametrize(("ends", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_a_command_that_fails_fails_its_phase_and_gives_run_its_exit_code(board, ends, code):
    ended = board(*AS_P1, *script(ends))
    assert (ended.code, ended.out, ended.err) == (code, "", "")
    assert board.client.get_phase_state("p1") == "failed"
    assert board.client.list_claims() == []


def test_run_does_not_change_a_state_that_its_command_has_set(board):
    assert board(*AS_P1, *script(f"{COMMAND} phase set human_decision")).code == 0
    assert board.client.get_phase_state("p1") == "human_decision"
    assert board.client.list_claims() == [], "they end with the session"


def test_without_a_session_the_phase_is_set_and_completed_too(board):
    ended = board("run", "--phase", "p1", *script('test -z "$BOARD_SESSION"'))
    assert (ended.code, board.client.get_phase_state("p1")) == (0, "done")
    assert board.client.open_board().revision == 2, "it was set running and done, and no more"


def test_a_refused_claim_changes_no_phase_and_runs_no_command(board):
    board.client.set_phase_state("p1", "queued")
    board.client.claim_file("b.go", "p2")
    refused = board(*AS_P1, *script("echo run"))
    assert (refused.code, refused.out) == (3, "")
    assert '"b.go" owned by "p2"' in refused.err
    assert board.client.get_phase_state("p1") == "queued"
    assert board.client.list_sessions() == []


def test_a_phase_that_another_session_runs_is_refused_and_not_changed(board):
    with board.start(*AS_P1, "--worker", "w1", *script("echo ready; read line")) as first:
        assert first.stdout.readline() == "ready\n"
        running, claims = board.client.get_phase("p1"), board.client.list_claims()
        for session in (["--session"], []):
            second = board("run", *session, "--phase", "p1", "--claim", "a.go", *script("echo run"))
            assert (second.code, second.out) == (5, "")
            assert second.err == (
                f'board: phase "p1" is run by worker "w1" in session "{running.session_id}"; '
                "`board wait --phase p1=done,failed` waits for its end\n"
            )
        assert board.client.get_phase("p1") == running
        assert board.client.list_claims() == claims
        first.communicate("go on\n", timeout=60)
        assert first.returncode == 0
    assert board.client.get_phase_state("p1") == "done"


def test_a_phase_whose_session_has_ended_can_be_taken(board):
    session = board.client.open_session("w1")
    board.client.with_options(session_id=session.session_id).set_phase_state("p1", "running")
    board.client.close_session(session.session_id)
    assert board(*AS_P1, *script("true")).code == 0
    assert board.client.get_phase_state("p1") == "done"


@pytest.mark.parametrize("state", ["", "queued", "running"])
def test_if_many_workers_take_a_phase_at_once_one_gets_it(board, state):
    if state:
        board.client.set_phase_state("p1", state)

    def try_to_take(number):
        with board.client.session(f"w{number}") as session:
            try:
                take(session, "p1", f"w{number}", ["a.go"])
            except Failure as refused:
                together.wait()
                return refused.code
            together.wait()  # the winner's session lives until all have tried
            assert board.client.get_phase("p1").session_id == session.session_id
            assert board.client.file_owner("a.go") == "p1"
            return 0

    together = threading.Barrier(16)
    with ThreadPoolExecutor(16) as workers:
        codes = sorted(workers.map(try_to_take, range(16)))
    assert codes == [0] + 15 * [5]


def test_a_phase_that_was_taken_over_meanwhile_is_not_completed(board):
    with board.start(*AS_P1, *script("echo ready; read line")) as first:
        assert first.stdout.readline() == "ready\n"
        with board.client.session("w2") as other:
            other.set_phase_state("p1", "running", worker="w2")
            _, err = first.communicate("go on\n", timeout=60)
            assert first.returncode == 5
            assert 'is run by worker "w2"' in err
            assert "was not completed; the command had ended with 0" in err
            assert board.client.get_phase_state("p1") == "running"


def test_a_command_that_does_not_exist_is_reported_before_anything_is_done(board, tmp_path):
    no_program = tmp_path / "text"
    no_program.write_text("no program")
    for command, code in (("nowhere/to/be/found", 127), (no_program, 126)):
        missing = board(*AS_P1, "--", command)
        assert (missing.code, missing.out, missing.err.count("\n")) == (code, "", 1)
    assert board.client.open_board().revision == 0


def test_signals_are_forwarded_to_the_command(board):
    waits = 'trap "echo trapped; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
    with board.start(*AS_P1, *script(waits)) as run:
        assert run.stdout.readline() == "ready\n"
        run.terminate()
        out, _ = run.communicate(timeout=60)
        assert (run.returncode, out) == (9, "trapped\n")
    assert board.client.get_phase_state("p1") == "failed"


def test_a_command_that_a_signal_ends_gives_the_code_that_shells_give(board):
    with board.start(*AS_P1, *script("echo ready; exec sleep 600")) as run:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=60) == 130
    assert board.client.get_phase_state("p1") == "failed"


@pytest.mark.parametrize(("on_expiry", "state"), [("fail", "failed"), ("requeue", "queued")])
def test_a_worker_that_is_killed_loses_phase_and_files_within_its_ttl_and_a_second(
    board, on_expiry, state
):
    options = ("--ttl", "1s", "--on-expiry", on_expiry)
    with (
        board.start(*AS_P1, *options, *script("echo $$; exec sleep 600")) as run,
        ended(int(run.stdout.readline())) as command,
    ):
        killed = datetime.now(UTC)
        run.kill()
        met = board.client.with_options(timeout=60).wait_for(
            PhaseIn("p1", state), FileFree("a.go"), FileFree("b.go")
        )
        assert met.phases[0].updated_at - killed <= timedelta(seconds=1 + 1)
        assert command(), "the command has ended without `board run`"


@pytest.mark.parametrize("term", ["exit 0", ":"], ids=["gentle", "stubborn"])
def test_a_command_whose_session_is_lost_is_ended(board, term):
    loop = f"trap '{term}' TERM; echo ready; while :; do sleep 0.05; done"
    with board.start(*AS_P1, "--ttl", "1s", "--grace", "300ms", *script(loop)) as run:
        assert run.stdout.readline() == "ready\n"
        (session,) = board.client.list_sessions()
        board.client.close_session(session.session_id)
        board.client.set_phase_state("p1", "queued", worker="")
        _, err = run.communicate(timeout=60)
        assert run.returncode == 6
        assert err.endswith(  # the shell prints a line before it
            f'board: session "{session.session_id}" has ended: its running phases were failed or '
            "queued again, and its files released; "
            "the command was ended\n"
        )
    assert board.client.get_phase_state("p1") == "queued", "another worker has it now"


def test_a_command_that_ends_after_its_session_completes_nothing(board):
    end_session = f"{COMMAND} session close $BOARD_SESSION > /dev/null"
    late = board(*AS_P1, "--on-expiry", "requeue", *script(end_session))
    assert late.code == 6
    assert "its files released; the command had ended with 0" in late.err
    assert board.client.get_phase_state("p1") == "queued"


def test_a_phase_is_completed_even_if_the_server_restarts_when_the_command_ends(tmp_path):
    directory = tmp_path / "boards"
    waits = script("echo $$; read line")
    with (
        server_process(directory) as server,
        started("--target", server.address, *AS_P1, *waits) as run,
        ended(int(run.stdout.readline())) as command,
    ):
        server.kill()
        run.stdin.write("go on\n")
        run.stdin.flush()
        assert command()
        with (
            server_process(directory, listen=server.address),
            BoardClient(server.address) as client,
        ):
            assert (run.wait(timeout=60), run.stderr.read()) == (0, "")
            assert client.get_phase_state("p1") == "done"
            assert client.list_claims() == []


def test_a_signal_ends_the_retries_of_completing_a_phase(tmp_path):
    waits = script("echo $$; read line; exit 3")
    run_it = ("--timeout", "1", *AS_P1, "--ttl", "1h", *waits)
    with (
        server_process(tmp_path) as server,
        started("--target", server.address, *run_it) as run,
        ended(int(run.stdout.readline())) as command,
    ):
        server.kill()
        run.stdin.write("go on\n")
        run.stdin.flush()
        assert command()
        run.terminate()
        assert run.wait(timeout=60) == 4
        assert "the command had ended with 3" in run.stderr.read()


@contextmanager
def ended(pid):
    """Yield a function that waits for the end of a process, and returns whether it came."""
    process = os.pidfd_open(pid)
    try:
        yield lambda: bool(select.select([process], [], [], 60)[0])
    finally:
        os.close(process)


def test_a_claim_needs_a_phase(unopened):
    refused = unopened("run", "--claim", "a.go", "--", "true")
    assert (refused.code, refused.out) == (2, "")


def test_a_command_is_killed_by_a_broken_pipe_as_in_a_shell(board):
    ended = board("run", *script("yes | head -1"))
    assert (ended.code, ended.out, ended.err) == (0, "y\n", "")
