"""`make lint` compares the proto with the commit at which the branch left main."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GIT = ("git", "-c", "user.name=n", "-c", "user.email=n@example.com")

PROTO = """syntax = "proto3";
package p.v1;
message Phase {
  string id = 1;
  string worker = 2;
}
"""


class Repository:
    """A repository with a proto on main, and the branch `topic` that leaves it there."""

    def __init__(self, directory):
        self.directory = directory
        self.proto = directory / "proto" / "p" / "v1" / "p.proto"
        self.proto.parent.mkdir(parents=True)
        self.proto.write_text(PROTO)
        shutil.copy(ROOT / "buf.yaml", directory)
        (directory / "scripts").mkdir()
        for script in ("breaking", "branch-point"):
            shutil.copy(ROOT / "scripts" / script, directory / "scripts")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()
        self.git("switch", "--quiet", "--create", "topic")

    def git(self, *arguments):
        subprocess.run([*GIT, *arguments], cwd=self.directory, check=True)

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def replace(self, old, new):
        self.proto.write_text(self.proto.read_text().replace(old, new))

    def compare(self):
        return subprocess.run(
            [self.directory / "scripts" / "breaking", Path(sys.executable).with_name("buf")],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


def test_a_field_that_the_branch_adds_is_allowed(repository):
    repository.replace("worker = 2;", "worker = 2;\n  string title = 3;")
    assert repository.compare().returncode == 0


def test_a_field_that_the_branch_removes_is_refused(repository):
    repository.replace("  string worker = 2;\n", "")
    refused = repository.compare()
    assert refused.returncode != 0
    assert 'field "2" with name "worker"' in refused.stdout


def test_a_field_that_main_has_added_since_may_be_missing(repository):
    repository.git("switch", "--quiet", "main")
    repository.replace("worker = 2;", "worker = 2;\n  string title = 3;")
    repository.commit()
    repository.git("switch", "--quiet", "topic")
    assert repository.compare().returncode == 0


def test_a_clone_without_main_says_that_it_compared_nothing(repository):
    repository.git("branch", "--quiet", "--delete", "--force", "main")
    compared = repository.compare()
    assert compared.returncode == 0
    assert "buf breaking did not run" in compared.stdout
