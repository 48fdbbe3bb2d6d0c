"""Make a release: date the changelog, set the version, commit, tag, and build the wheel.

Needs a clean checkout of main. Pushes nothing, but prints the command that does.
"""

import argparse
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = ROOT / "CHANGELOG.md"
PROJECT = ROOT / "pyproject.toml"

VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
VERSION_LINE = re.compile(r'^version = "(.*)"$', re.MULTILINE)
UNRELEASED = re.compile(r"^## Unreleased\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def git(*arguments: str) -> str:
    """Run git; return what it prints."""
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def tags_of(version: str) -> tuple[str, str]:
    """Return the tag of the project, and that by which Go finds the module in go/."""
    return f"v{version}", f"go/v{version}"


def refuse(reason: str) -> NoReturn:
    """Exit with what is wrong and what to do."""
    sys.exit(f"no release: {reason}")


def check(version: str) -> None:
    """Refuse a release that would be wrong, before changing anything."""
    if not VERSION.fullmatch(version):
        refuse(f'"{version}" is not a version such as 0.2.0: make release VERSION=0.2.0')
    if (branch := git("branch", "--show-current")) != "main":
        refuse(f'this is the branch "{branch}": git switch main')
    if git("status", "--porcelain"):
        refuse("there are changes that are not committed: commit or remove them")
    for tag in tags_of(version):
        if git("tag", "--list", tag):
            refuse(f"the tag {tag} exists: choose a newer version")
    section = UNRELEASED.search(CHANGELOG.read_text())
    if section is None or not section["text"].strip():
        refuse('CHANGELOG.md has nothing under "## Unreleased": write what has changed')


def edit(version: str) -> None:
    """Date the changelog's top section, and set the version."""
    today = datetime.now(UTC).date().isoformat()
    changelog = CHANGELOG.read_text()
    dated = f"## Unreleased\n\n## {version} - {today}\n"
    CHANGELOG.write_text(changelog.replace("## Unreleased\n", dated, 1))
    PROJECT.write_text(VERSION_LINE.sub(f'version = "{version}"', PROJECT.read_text(), count=1))


def build() -> None:
    """Build the wheel in dist/."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run(pip, cwd=ROOT, check=True)


def release(version: str) -> None:
    """Commit and tag the release, once its wheel has been built."""
    edit(version)
    try:
        build()
    except BaseException:
        git("checkout", "--", str(CHANGELOG), str(PROJECT))
        raise
    body = f"CHANGELOG.md lists what has changed since the version before {version}."
    git("commit", "--quiet", "--all", "--message", f"Release {version}", "--message", body)
    for tag in tags_of(version):
        git("tag", "--annotate", "--message", f"board {version}", tag)
    print(f"released {version}: the wheel is in dist/. Publish it with")
    print(f"  git push --atomic origin main {' '.join(tags_of(version))}")


def main() -> None:
    """Read the version, check, and release."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", help="for example 0.2.0")
    version = parser.parse_args().version
    check(version)
    release(version)


if __name__ == "__main__":
    main()
