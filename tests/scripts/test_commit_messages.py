"""The hook refuses the commit messages that CONTRIBUTING.md does not allow."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def commit(tmp_path):
    """Make an empty commit in a new repository that has the hook; return what git did."""
    git = ("git", "-c", "user.name=n", "-c", "user.email=n@example.com")
    subprocess.run([*git, "init", "--quiet"], cwd=tmp_path, check=True)

    def commit(message, *options):
        return subprocess.run(
            [*git, "-c", f"core.hooksPath={ROOT}/scripts/hooks", "commit", "--allow-empty",
             "--message", message, *options],
            cwd=tmp_path,
            env={**os.environ, "GIT_EDITOR": "true"},
            check=False,
            capture_output=True,
            text=True,
        )  # fmt: skip

    return commit


def test_a_subject_an_empty_line_and_a_body_are_accepted(commit):
    assert commit("s" * 72 + "\n\nBecause.").returncode == 0


def test_the_comments_of_git_below_a_message_are_not_its_body(commit):
    refused = commit("Say what", "--edit", "--verbose", "--status")
    assert "there is no body" in refused.stderr


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("s" * 73 + "\n\nBecause.", "the subject has 73 characters, 72 are allowed"),
        ("WIP: more\n\nBecause.", 'the subject is "wip"'),
        ("Say what\nBecause.\n\nMore.", "the second line is not empty"),
        ("Say what", "there is no body"),
    ],
)
def test_another_message_is_refused_with_its_fault(commit, message, fault):
    refused = commit(message)
    assert refused.returncode == 1
    assert fault in refused.stderr
