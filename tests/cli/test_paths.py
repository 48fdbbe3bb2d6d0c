"""The board has one path for a file, however it is written."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_client.cli.failure import ExitCode, Failure
from board_client.cli.paths import repository_path, repository_paths
from tests.cli.conftest import COMMAND, environment


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a few directories and links; the working directory is its root."""
    root = tmp_path / "repository"
    (root / "pkg" / "inner").mkdir(parents=True)
    (root / "link").symlink_to("pkg")
    (root / "outside").symlink_to(tmp_path)
    (root / "file-link").symlink_to("pkg/a.go")
    subprocess.run(["git", "init", "-q", root], check=True)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    "path", ["pkg/a.go", "./pkg/a.go", "pkg//a.go", "pkg/a.go//", "new/../pkg/a.go", "link/a.go",
             "pkg/inner/../a.go", "link/inner/../a.go", "file-link"],
)  # fmt: skip
def test_a_file_has_one_path_however_it_is_written(repository, path):
    assert repository_path(path) == "pkg/a.go"
    assert repository_path(f"{repository}/{path}") == "pkg/a.go"


def test_below_the_root_a_path_is_still_from_the_root(repository, monkeypatch):
    monkeypatch.chdir(repository / "pkg" / "inner")
    assert repository_paths(["a.go", "../a.go", "./a.go"]) == ["pkg/inner/a.go", "pkg/a.go"]


def test_in_a_linked_worktree_a_file_has_the_path_that_it_has_in_the_repository(
    repository, monkeypatch
):
    def git(*arguments):
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    git("commit", "--allow-empty", "-m", "first")
    git("worktree", "add", repository.parent / "tree")
    monkeypatch.chdir(repository.parent / "tree")
    assert repository_path("./pkg/a.go") == "pkg/a.go"


def test_in_a_hook_of_a_linked_worktree_a_file_has_the_path_that_it_has_elsewhere(
    repository, monkeypatch
):
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))  # as git does
    monkeypatch.chdir(repository / "pkg" / "inner")
    assert repository_path("../a.go") == "pkg/a.go"


def test_a_work_tree_that_the_environment_names_is_the_root(repository, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(repository / "pkg"))
    monkeypatch.chdir(repository / "pkg" / "inner")
    assert repository_path("../a.go") == "a.go"


def test_without_a_repository_paths_are_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert repository_path("x/../a.go") == "a.go"
    monkeypatch.setenv("PATH", "")
    assert repository_path(f"{tmp_path}/a.go") == "a.go"


@pytest.mark.parametrize(
    "path", ["../a.go", "/etc/passwd", "pkg/../../a.go", "outside/a.go", "outside", ".", ""]
)
@pytest.mark.usefixtures("repository")
def test_a_path_outside_of_the_repository_is_refused(path):
    with pytest.raises(Failure) as refused:
        repository_path(path)
    assert refused.value.code == ExitCode.BAD_INPUT


@given(st.lists(st.sampled_from(["a", "b", ".", "..", "", "é", "\udcff", "-x"]), min_size=1))
def test_a_path_on_the_board_names_the_same_file_and_is_not_changed_again(parts):
    path = "/".join(parts)
    try:
        found = repository_path(path)
    except Failure:
        return
    assert repository_path(f"{root_of_this_repository()}/{found}") == found
    assert not set(found.split("/")) & {"", ".", ".."}


def root_of_this_repository():
    return os.path.realpath(".")


def test_two_phases_cannot_claim_one_file_under_two_names(board, repository):
    def command(*arguments):
        where = {"BOARD_TARGET": board.target, "BOARD_NAME": board.name}
        return subprocess.run(
            [COMMAND, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=repository / "pkg",
            env=environment(**where),
        )

    assert command("claim", "./a.go", "a.go", "--owner", "p1").stdout == "p1 has 1 file\n"
    assert [claim.filepath for claim in board.client.list_claims()] == ["pkg/a.go"]
    assert command("owner", "../link/a.go").stdout == "p1\n"
    for claim in (["claim", "--owner", "p2"], ["run", "--phase", "p2", "--claim"]):
        *words, last = [*claim, f"{repository}/pkg/a.go"]
        rest = ["--", "true"] if "run" in claim else []
        refused = command(*words, last, *rest)
        assert refused.returncode == 3, refused.stderr
        assert '"pkg/a.go" owned by "p1"' in refused.stderr
    late = command("wait", "--file", "inner/../a.go", "--timeout", "10ms")
    assert (late.returncode, "p1 has pkg/a.go" in late.stderr) == (7, True)
    outside = command("claim", "../../a.go", "--owner", "p1")
    assert (outside.returncode, outside.stdout, outside.stderr.count("\n")) == (2, "", 1)
    assert f"is outside of the repository {repository}" in outside.stderr
    assert command("release", "../file-link", "--owner", "p1").stdout == "p1 released 1 file\n"
