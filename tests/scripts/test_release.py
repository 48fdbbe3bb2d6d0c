"""`make release` in a clone: its commit and tags, and what it refuses. It never pushes."""

import subprocess
import sys
import tomllib
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Clone:
    """A small repository with the files that a release reads and writes, on main."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("pyproject.toml", "README.md", "LICENSE", "scripts/release.py"):
            copy = directory / name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
        for package in ("board_client", "board_server"):
            (directory / package).mkdir()
            (directory / package / "__init__.py").touch()
        self.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n- A thing.\n")
        self.write(".gitignore", "/dist/\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Begin")

    def write(self, name, text):
        (self.directory / name).write_text(text)

    def read(self, name):
        return (self.directory / name).read_text()

    def git(self, *arguments):
        git = ["git", *arguments]
        return subprocess.run(
            git, cwd=self.directory, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def release(self, version):
        return subprocess.run(
            [sys.executable, "scripts/release.py", version],
            cwd=self.directory,
            check=False,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "n")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "n@example.com")
    return Clone(tmp_path)


@pytest.mark.smoke
def test_a_release_dates_the_changelog_sets_the_version_tags_and_builds_the_wheel(clone):
    ran = clone.release("0.2.0")
    assert ran.returncode == 0, ran.stderr
    assert "git push --atomic origin main v0.2.0 go/v0.2.0" in ran.stdout
    today = datetime.now(UTC).date().isoformat()
    assert f"## Unreleased\n\n## 0.2.0 - {today}\n\n- A thing.\n" in clone.read("CHANGELOG.md")
    assert tomllib.loads(clone.read("pyproject.toml"))["project"]["version"] == "0.2.0"
    assert clone.git("tag", "--points-at", "HEAD").split() == ["go/v0.2.0", "v0.2.0"]
    assert clone.git("log", "-1", "--format=%s") == "Release 0.2.0"
    assert clone.git("status", "--porcelain") == ""
    (wheel,) = (clone.directory / "dist").iterdir()
    assert "quasar_board-0.2.0.dist-info/METADATA" in zipfile.ZipFile(wheel).namelist()


def change_a_file(clone):
    clone.write("README.md", "changed")


def leave_main(clone):
    clone.git("switch", "--quiet", "--create", "topic")


def tag_it(clone):
    clone.git("tag", "go/v0.2.0")


def say_nothing(clone):
    clone.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-01-01\n\n- A.\n")
    clone.git("commit", "--quiet", "--all", "--message", "Say nothing")


@pytest.mark.parametrize(
    ("version", "prepare", "reason"),
    [
        ("0.2", None, '"0.2" is not a version such as 0.2.0'),
        ("", None, '"" is not a version such as 0.2.0'),
        ("0.2.0", change_a_file, "there are changes that are not committed"),
        ("0.2.0", leave_main, 'this is the branch "topic": git switch main'),
        ("0.2.0", tag_it, "the tag go/v0.2.0 exists"),
        ("0.2.0", say_nothing, 'CHANGELOG.md has nothing under "## Unreleased"'),
    ],
)
def test_an_invalid_release_is_refused_and_changes_nothing(clone, version, prepare, reason):
    if prepare is not None:
        prepare(clone)
    before = clone.git("rev-parse", "HEAD"), clone.git("status", "--porcelain")
    ran = clone.release(version)
    assert ran.returncode == 1
    assert reason in ran.stderr
    assert (clone.git("rev-parse", "HEAD"), clone.git("status", "--porcelain")) == before
    assert clone.git("tag").split() == (["go/v0.2.0"] if prepare is tag_it else [])
