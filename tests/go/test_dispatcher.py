"""The dispatcher in Python and its workers. Those of Go are tested in go/examples/dispatcher."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from board_client import BoardClient, PhaseIn
from tests.support.servers import server_process

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("boards")) as server:
        yield server.address


@pytest.fixture
def board(target):
    with BoardClient(target, f"board-{uuid.uuid4()}") as board:
        board.open_board()
        yield board


@pytest.fixture
def dispatcher(tmp_path, target, board):
    """Starts the dispatcher on phases `{id: (depends_on, scope)}`; its process is in `with`."""
    nebula, repository = tmp_path / "nebula", tmp_path / "repository"
    nebula.mkdir()
    repository.mkdir()

    def start(phases, *more):
        (nebula / "nebula.toml").write_text(f'[nebula]\nname = "{board.board}"\n')
        for phase, (depends_on, scope) in phases.items():
            head = f'id = "{phase}"\ndepends_on = {depends_on}\nscope = {scope}\n'
            (nebula / f"{phase}.md").write_text(f"+++\n{head}+++\n\nText.\n")
        command = [sys.executable, EXAMPLES / "dispatcher.py", "--target", target]
        options = ["--repository", repository, "--workers", "2", *more, nebula]
        return subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)

    return start


def states(board):
    return {phase.phase_id: phase.state for phase in board.list_phases()}


def test_a_failed_phase_stops_only_the_phases_that_depend_on_it(dispatcher, board):
    phases = {
        "fails": ([], ["a.go", "../outside.go"]),
        "after": (["fails"], ["b.go"]),
        "apart": ([], ["c.go"]),
    }
    with dispatcher(phases) as running:
        _, errors = running.communicate()
    assert running.returncode == 1
    assert "outside of the repository" in errors
    assert states(board) == {"fails": "failed", "after": "queued", "apart": "done"}
    assert board.list_claims() == []


def test_a_phase_is_blocked_until_its_files_are_free(dispatcher, board):
    board.claim_file("taken.go", owner="somebody")
    phases = {"wants": ([], ["a.go", "taken.go"]), "apart": ([], ["b.go"])}
    with dispatcher(phases) as running:
        board.with_options(timeout=60).wait_for(
            PhaseIn("wants", "blocked"), PhaseIn("apart", "done")
        )
        assert board.claims_for("wants") == []
        board.release_claims("somebody")
        running.communicate()
    assert running.returncode == 0
    assert states(board) == {"wants": "done", "apart": "done"}
    assert board.list_claims() == []


def test_a_worker_that_is_killed_leaves_a_failed_phase_and_free_files(dispatcher, board):
    phases = {"killed": ([], ["a.go"]), "after": (["killed"], []), "apart": ([], [])}
    with dispatcher(phases, "--pace", "600", "--ttl", "1") as running:
        board.with_options(timeout=60).wait_for(
            PhaseIn("killed", "running"), PhaseIn("apart", "done")
        )
        watch = board.watch("phase")
        os.kill(worker_of("killed", running), signal.SIGKILL)
        failed = next(watch)
        watch.close()
        running.communicate()
    assert (failed.record.phase_id, failed.record.state) == ("killed", "failed")
    assert failed.cause == "session_expired"
    assert running.returncode == 1
    assert states(board) == {"killed": "failed", "after": "queued", "apart": "done"}
    assert board.list_claims() == []


def worker_of(phase, running):
    """Return the process that the dispatcher has started for the phase."""
    tasks = Path(f"/proc/{running.pid}/task").glob("*/children")
    children = {child for task in tasks for child in task.read_text().split()}
    (worker,) = (child for child in children if f"{phase}.md" in command_of(child))
    return int(worker)


def command_of(pid):
    """Return the command line of the process; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        ({"p": (["q"], [])}, "p.md: depends on q, which is not a phase"),
        ({"p": (["q"], []), "q": (["p"], [])}, "the dependencies of the phases form a cycle: "),
    ],
)
def test_a_malformed_nebula_is_one_line_that_names_it(dispatcher, phases, said):
    with dispatcher(phases) as running:
        _, errors = running.communicate()
    assert running.returncode == 1
    assert said in errors
    assert errors.count("\n") == 1


@pytest.fixture
def files_of_scope(tmp_path, monkeypatch):
    """Return the files that `my-phase` claims for a scope, in a repository with these files."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from nebula import Phase  # noqa: PLC0415  an example's module is no package
    from worker import files_of_scope as claimed  # noqa: PLC0415

    def files(scope, there=()):
        for file in there:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        return claimed(Phase("my-phase", "", (), tuple(scope), tmp_path), tmp_path)

    return files


THERE = ["a/b/deep.go", "a/x.go", "a/x_test.go", "other/y.go", "root.go"]


@pytest.mark.parametrize(
    ("scope", "claimed"),
    [
        (["a/x.go"], ["a/x.go"]),
        (["a/new.go", "a/x.go"], ["a/new.go", "a/x.go"]),
        (["a/"], ["a/b/deep.go", "a/x.go", "a/x_test.go"]),
        (["a/**"], ["a/b/deep.go", "a/x.go", "a/x_test.go"]),
        (["a/*.go"], ["a/x.go", "a/x_test.go"]),
        (["a/**/*_test.go"], ["a/x_test.go"]),
        (["*/x.go", "other/"], ["a/x.go", "other/y.go"]),
        (["new/"], ["new/my_phase.go"]),
        (["new/**"], ["new/my_phase.go"]),
        (["a/*.md"], ["a/my_phase.go"]),
        (["a/*.go", "a/x.go"], ["a/x.go", "a/x_test.go"]),
        (["**"], THERE),
        ([], []),
    ],
)
def test_a_scope_matches_the_existing_files(files_of_scope, scope, claimed):
    assert files_of_scope(scope, THERE) == claimed


@pytest.mark.parametrize("scope", ["../x.go", "../", "../**", "a/../../x.go", "/etc/passwd"])
def test_a_scope_outside_of_the_repository_is_refused(files_of_scope, scope):
    with pytest.raises(ValueError, match="outside of the repository"):
        files_of_scope([scope])
