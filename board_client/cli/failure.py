"""Failure: why a command ends without success, in one line, with its exit code."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from board_client.cli.visible import visible

MOST_LINES = 50
"""Problems of one input that are told; more would only hide the first."""


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


class Failure(Exception):
    """Ends the command. Its text is one line, for standard error."""

    def __init__(self, text: str, code: ExitCode = ExitCode.ERROR) -> None:
        super().__init__(text)
        self.code = code

    def lines(self) -> list[str]:
        """Return what to tell, a line each."""
        return [f"board: {self}"]


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
    """Input files are wrong; every problem found is told, and nothing was done."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)), ExitCode.BAD_INPUT)
        self.problems = problems

    def lines(self) -> list[str]:
        """Return one line for each problem, the first `MOST_LINES` of them."""
        return _first(map(str, self.problems), "more problems")


class ClaimRefused(Failure):
    """Other phases have files that were to be claimed; each is told, and none was claimed."""

    def __init__(self, conflicts: Sequence[tuple[str, str]]) -> None:
        texts = [
            f'file already claimed by another phase: "{filepath}" owned by "{owner}"'
            for filepath, owner in conflicts
        ]
        super().__init__("; ".join(texts), ExitCode.CLAIM_REFUSED)
        self._texts = texts

    def lines(self) -> list[str]:
        """Return one line for each file, the first `MOST_LINES` of them."""
        return _first((f"board: {text}" for text in self._texts), "more files are claimed")


def _first(lines: Iterable[str], more: str) -> list[str]:
    """Return as many as anybody reads, and how many more there are."""
    told = list(lines)
    rest = len(told) - MOST_LINES
    return [*told[:MOST_LINES], f"board: {rest} {more}"] if rest > 0 else told


def report(failure: Failure) -> None:
    """Tell a failure on standard error."""
    for line in failure.lines():
        print(visible(line), file=sys.stderr)  # noqa: T201
