"""Failure: why a command fails, in one line of text or as JSON, with its exit code."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path

from board_client.cli.visible import visible

MOST_LINES = 50
"""The most problems of one input to print; more would only hide the first."""


class ExitCode(IntEnum):
    """How a command ended. A script may rely on these."""

    OK = 0
    ERROR = 1
    BAD_INPUT = 2
    CLAIM_REFUSED = 3
    UNAVAILABLE = 4
    STATE_MISMATCH = 5
    SESSION_EXPIRED = 6
    TIMED_OUT = 7
    CONTRADICTIONS = 8
    NOT_ALLOWED = 9
    CANNOT_RUN = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class Failure(Exception):
    """Ends the command. Its text is one line, for standard error.

    `reason` is the server's reason where the server refused the call, else a word of our
    own, by default the name of the exit code. `metadata` is what a program needs besides.
    """

    def __init__(
        self,
        text: str,
        code: ExitCode = ExitCode.ERROR,
        reason: str = "",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason or code.name
        self.metadata = dict(metadata or {})

    def lines(self) -> list[str]:
        """Return the lines to print."""
        return [f"board: {self}"]

    def record(self) -> dict[str, object]:
        """Return the object to print under `--json`."""
        return {"reason": self.reason, "message": str(self), "metadata": self.metadata}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file. `line` counts from 1; 0 is the file as a whole."""

    path: Path | str
    line: int
    text: str

    def __str__(self) -> str:
        """Return it as compilers do: PATH:LINE: TEXT."""
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"


class BadInput(Failure):
    """Input files are wrong. Every problem found is printed; nothing was changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        records = [asdict(each) | {"path": str(each.path)} for each in problems]
        text = "; ".join(map(str, problems))
        super().__init__(text, ExitCode.BAD_INPUT, metadata={"problems": records})
        self.problems = problems

    def lines(self) -> list[str]:
        """Return one line for each problem, the first `MOST_LINES` of them."""
        return _first(map(str, self.problems), "more problems")


class ClaimRefused(Failure):
    """Other phases have some of the files; each is named, and none was claimed."""

    def __init__(self, conflicts: Sequence[tuple[str, str]], reason: str = "") -> None:
        texts = [
            f'file already claimed by another phase: "{filepath}" owned by "{owner}"'
            for filepath, owner in conflicts
        ]
        records = [{"filepath": filepath, "owner": owner} for filepath, owner in conflicts]
        super().__init__("; ".join(texts), ExitCode.CLAIM_REFUSED, reason, {"conflicts": records})
        self._texts = texts

    def lines(self) -> list[str]:
        """Return one line for each file, the first `MOST_LINES` of them."""
        return _first((f"board: {text}" for text in self._texts), "more files are claimed")


def _first(lines: Iterable[str], more: str) -> list[str]:
    """Return the first `MOST_LINES` lines, and one that counts the rest."""
    every = list(lines)
    rest = len(every) - MOST_LINES
    return [*every[:MOST_LINES], f"board: {rest} {more}"] if rest > 0 else every


def report(failure: Failure) -> None:
    """Print a failure on standard error, as JSON if the command line has `--json`."""
    lines = [json.dumps(failure.record())] if json_wanted() else failure.lines()
    with suppress(OSError):  # nobody can read it; the exit code still says that it failed
        for line in lines:
            print(visible(line), file=sys.stderr)  # noqa: T201


def json_wanted() -> bool:
    """Return whether `--json` is among the options; a command line may fail before it is parsed."""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]
