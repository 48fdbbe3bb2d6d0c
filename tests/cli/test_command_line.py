"""Options, errors and pipes: the same for every command."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.main import get_command

from board_client import BoardClient
from board_client.cli.app import app
from tests.cli.conftest import COMMAND, environment, run
from tests.cli.terminal import terminal


@pytest.fixture
def claimed(board):
    board.client.claim_file("a.go", "p1")
    return board


def test_global_options_stand_before_or_after_the_command(claimed):
    where = ("--target", claimed.target, "--board", claimed.name, "--timeout", "5s")
    before, after = run(*where, "owner", "a.go"), run("owner", "a.go", *where)
    assert (before.code, before.out) == (after.code, after.out) == (0, "p1\n")
    between = run("phase", *where, "list", "--json")
    assert between.json == []


def test_a_global_option_after_the_command_overrides_the_same_one_before_it(claimed):
    where = ("--target", claimed.target)
    found = run(*where, "--board", "no-such-board", "owner", "a.go", "--board", claimed.name)
    assert (found.code, found.out) == (0, "p1\n")


def test_a_global_option_overrides_its_variable(claimed):
    for words in (["--timeout", "5s", "owner", "a.go"], ["owner", "a.go", "--timeout", "5s"]):
        shown = claimed(*words, BOARD_TIMEOUT="soon")
        assert (shown.code, shown.out) == (0, "p1\n")


def test_a_variable_that_is_not_valid_is_an_error_only_if_it_is_used(claimed):
    refused = claimed("owner", "a.go", BOARD_TIMEOUT="soon")
    assert refused.code == 2
    assert "'BOARD_TIMEOUT'" in refused.err
    assert '"soon" is not a duration' in refused.err
    encrypted = claimed("owner", "a.go", "--tls", BOARD_TLS="perhaps")
    assert "BOARD_TLS" not in encrypted.err
    assert run("serve", "--help", BOARD_TIMEOUT="soon").code == 0


def test_a_session_is_named_before_or_after_the_command_and_by_its_older_name(board):
    session_id = board.client.open_session("w1").session_id
    for number, options in enumerate((["--session", session_id], ["--in-session", session_id])):
        assert board(*options, "claim", f"before{number}", "--phase", "p1").code == 0
        assert board("claim", f"after{number}", "--phase", "p1", *options).code == 0
    assert {each.session_id for each in board.client.list_claims()} == {session_id}


def test_arguments_after_the_command_of_run_belong_to_the_command(board):
    shown = board("run", "--", "echo", "--json", "--board", "other")
    assert (shown.code, shown.out) == (0, "--json --board other\n")


@pytest.mark.parametrize("name", ["BOARD_PHASE", "QUASAR_TASK_ID"])
def test_a_worker_names_its_phase_once(board, name):
    own = {name: "p1"}
    assert board("claim", "a.go", **own).out == "p1 has 1 file\n"
    assert board("phase", "set", "running", **own).out == "p1 is running\n"
    assert board("release", **own).out == "p1 released 1 file\n"
    assert board("complete", **own).code == 0
    assert (
        board("run", "--", "sh", "-c", "echo $BOARD_PHASE $QUASAR_TASK_ID", **own).out == "p1 p1\n"
    )


def test_board_phase_overrides_quasar_task_id(board):
    claimed = board("claim", "a.go", BOARD_PHASE="ours", QUASAR_TASK_ID="theirs")
    assert claimed.out == "ours has 1 file\n"


@pytest.mark.parametrize("option", ["--phase", "--owner"])
def test_the_owner_of_files_is_a_phase(board, option):
    assert board("claim", "a.go", option, "p1").code == 0
    assert board("claims", option, "p1").rows[0][:2] == ["a.go", "p1"]
    assert board("release", option, "p1").out == "p1 released 1 file\n"


@pytest.mark.parametrize("option", ["--phase", "--producer"])
def test_the_producer_of_contracts_is_a_phase(board, option):
    line = b'{"kind": "type", "name": "T"}\n'
    assert board("contract", "publish", "-", option, "p1", stdin=line).code == 0
    assert board("contract", "list", option, "p1").rows[0][0] == "p1"
    disputed = board("contract", "dispute", option, "p1", "--kind", "type", "--name", "T")
    assert disputed.out == "type T by p1 is disputed\n"


def test_older_names_of_options_are_not_in_the_help():
    for command in ("claim", "claims", "release", "contract publish", "contract list"):
        shown = run(*command.split(), "-h").out
        assert "--phase" in shown
        assert "--owner" not in shown
        assert "--producer" not in shown


COMMANDS = {
    " ".join((name, *inner))
    for name, command in get_command(app).commands.items()
    for inner in ([(each,) for each in getattr(command, "commands", ())] or [()])
}


def test_every_command_has_h_for_help_and_says_it_plainly_into_a_pipe():
    with ThreadPoolExecutor(4) as together:
        for name, shown in zip(
            COMMANDS, together.map(lambda name: run(*name.split(), "-h"), COMMANDS), strict=True
        ):
            assert (shown.code, shown.err) == (0, ""), name
            assert shown.out.startswith(f"Usage: board {name}"), name
            assert shown.out.isascii(), f"{name}: boxes or colours"
            assert "\x1b" not in shown.out, name


def test_an_option_that_does_not_exist_suggests_no_older_name():
    assert "--owner" not in run("claim", "a.go", "--own").err


def test_wrong_usage_is_one_line_that_names_the_help():
    wrong = run("claim", "a.go", "--zzz")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "board: No such option: --zzz; see `board claim --help`\n"


def test_under_json_every_error_is_an_object_with_reason_message_and_metadata(claimed, tmp_path):
    file = tmp_path / "c.jsonl"
    file.write_text('{"producer": "p"}\n')
    refused = claimed("claim", "a.go", "--phase", "p2", "--json")
    assert (refused.code, refused.out) == (3, "")
    assert refused.error == {
        "reason": "FILE_ALREADY_CLAIMED",
        "message": 'file already claimed by another phase: "a.go" owned by "p1"',
        "metadata": {"conflicts": [{"filepath": "a.go", "owner": "p1"}]},
    }
    late = claimed("phase", "set", "p1", "done", "--expect", "running", "--json")
    assert (late.code, late.error["reason"]) == (5, "STATE_MISMATCH")
    assert late.error["metadata"]["expected"] == "running"
    wrong = claimed("contract", "publish", file, "--json")
    assert (wrong.code, wrong.error["reason"]) == (2, "BAD_INPUT")
    assert wrong.error["metadata"] == {
        "problems": [{"path": str(file), "line": 1, "text": '"kind" is missing'}]
    }
    for words in (["--json", "claim"], ["--json", "phase"], ["phase", "--json"], ["--json"]):
        usage = run(*words)
        assert (usage.code, usage.out, usage.error["reason"]) == (2, "", "WRONG_USAGE"), words
    lost = run("--json", "--target", "127.0.0.1:1", "status")
    assert (lost.code, lost.error["reason"]) == (4, "UNAVAILABLE")


def closing(stream, *arguments):
    """Run a command with a standard stream closed, as a shell's `>&-` does."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {stream}&-', "sh", COMMAND, *arguments],
        capture_output=True,
        check=False,
        env=environment(),
    )


def test_a_closed_standard_stream_is_replaced_by_dev_null(claimed):
    where = ("--target", claimed.target, "--board", claimed.name)
    unread = closing(">", *where, "owner", "a.go")
    assert (unread.returncode, unread.stderr) == (0, b"")
    silent = closing("2>", *where, "owner", "--zzz")
    assert (silent.returncode, silent.stdout) == (2, b"")
    empty = closing("<", *where, "contract", "publish", "-")
    assert (empty.returncode, empty.stdout) == (0, b"published 0 contracts\n")


def test_an_error_that_cannot_be_printed_keeps_its_exit_code():
    theirs, ours = os.pipe()
    os.close(theirs)
    try:
        done = subprocess.run(
            [COMMAND, "claim", "--zzz"], stderr=ours, check=False, env=environment()
        )
    finally:
        os.close(ours)
    assert done.returncode == 2


@pytest.mark.parametrize("command", [["claims"], ["claims", "--json"], ["--help"]])
def test_a_pipe_without_a_reader_ends_a_command_quietly(claimed, command):
    theirs, ours = os.pipe()
    os.close(theirs)
    try:
        done = subprocess.run(
            [COMMAND, "--target", claimed.target, "--board", claimed.name, *command],
            stdout=ours,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(),
            restore_signals=True,
        )
    finally:
        os.close(ours)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_table_in_a_terminal_is_a_line_a_row_and_long_cells_end_with_an_ellipsis(board):
    board.client.claim_file(f"{'long/' * 30}a.go", "p1")
    with terminal("--target", board.target, "--board", board.name, "claims") as shown:
        shown.shows("claimed")
        shown.shows("long/…")
        shown.shows("  p1     20")
        shown.shows("Z\r\n")


def completed(words, **variables):
    """Return the words that completion offers for the last word of a command line."""
    return run(
        _BOARD_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(words),
        COMP_CWORD=str(len(words) - 1),
        **variables,
    ).out.split()


def test_the_shell_completes_boards_phases_and_sessions_of_the_server(board):
    where = {"BOARD_TARGET": board.target, "BOARD_NAME": board.name}
    board.client.set_phase_state("phase-one", "queued")
    session_id = board.client.open_session("w1").session_id
    assert board.name in completed(["board", "--board", board.name[:6]], **where)
    assert completed(["board", "phase", "get", "ph"], **where) == ["phase-one"]
    assert completed(["board", "claim", "a", "--phase", "ph"], **where) == ["phase-one"]
    assert completed(["board", "session", "close", session_id[:4]], **where) == [session_id]
    there = ["board", "--target", board.target, "status", "--board", board.name[:6]]
    assert board.name in completed(there)


def test_without_a_server_completion_offers_nothing_and_prints_nothing():
    nothing = run(
        _BOARD_COMPLETE="complete_bash",
        COMP_WORDS="board phase get ph",
        COMP_CWORD="3",
        BOARD_TARGET="127.0.0.1:1",
    )
    assert (nothing.out.strip(), nothing.err) == ("", "")


def test_a_session_is_opened_renewed_and_used_from_a_shell(board):
    opened = board("session", "open", "--worker", "w1", "--ttl", "2m", "--on-expiry", "requeue")
    session_id = opened.out.strip()
    (session,) = board.client.list_sessions()
    assert (session.session_id, session.worker) == (session_id, "w1")
    assert (session.ttl.total_seconds(), session.on_expiry) == (120, "requeue")

    renewed = board("session", "renew", "--json", BOARD_SESSION=session_id).json
    assert renewed["session_id"] == session_id
    assert board("session", "renew", session_id).out.startswith(f"session {session_id} is renewed")
    board.client.close_session(session_id)
    assert board("session", "renew", session_id).code == 6


def test_a_name_is_chosen_for_the_commands_that_run_starts(own_server):
    with BoardClient(own_server, "only") as only:
        only.open_board()
        only.set_phase_state("p1", "queued")
    result = run("--target", own_server, "run", "--", "sh", "-c", "echo $BOARD_NAME")
    assert result.out == "only\n"
