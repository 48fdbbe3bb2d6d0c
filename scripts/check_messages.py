"""Check commit messages: a subject of at most 72 characters, an empty line, a body.

With a file, as git's hook commit-msg calls it, check the message in that file. Without,
check the commits that this branch adds to main, or the last one where it adds none.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LONGEST_SUBJECT = 72

SCISSORS = re.compile(r"^# -+ >8 -+$.*", re.MULTILINE | re.DOTALL)
"""What `git commit --verbose` shows below the message."""


def faults(message: str) -> list[str]:
    """Return what is wrong with the message; nothing if it is good."""
    subject, _, rest = message.strip().partition("\n")
    separator, _, body = rest.partition("\n")
    checks = {
        f"the subject has {len(subject)} characters, {LONGEST_SUBJECT} are allowed": (
            len(subject) > LONGEST_SUBJECT
        ),
        'the subject is "wip": say what the commit does': (
            re.match(r"wip\b", subject, re.IGNORECASE) is not None
        ),
        "the second line is not empty": separator.strip() != "",
        "there is no body: say why, below an empty line": body.strip() == "",
    }
    return [fault for fault, is_so in checks.items() if is_so]


def from_file(path: Path) -> dict[str, str]:
    """Return the message that the hook was given, without git's comments."""
    text = SCISSORS.sub("", path.read_text())
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {"this message": "\n".join(lines)}


def from_branch() -> dict[str, str]:
    """Return the message of each commit that main does not have, or of the last commit."""
    base = output(ROOT / "scripts" / "branch-point").strip()
    log = ["git", "log", "--no-merges", "-z", "--format=%h%n%B"]
    new = output(*log, f"{base}..HEAD") if base else ""
    commits = (new or output(*log, "-1")).split("\0")
    return dict(commit.split("\n", 1) for commit in commits if commit)


def output(*command: str | Path) -> str:
    """Return what the command prints."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Print every fault; exit with 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="file that holds the message")
    file = parser.parse_args().file
    messages = from_file(file) if file else from_branch()
    found = [f"{name}: {fault}" for name, text in messages.items() for fault in faults(text)]
    if found:
        sys.exit("\n".join([*found, "CONTRIBUTING.md says what a commit message has."]))


if __name__ == "__main__":
    main()
