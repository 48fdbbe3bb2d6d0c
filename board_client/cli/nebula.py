"""Read a nebula: a directory with a nebula.toml and a Markdown file for each phase.

All files are checked before any phase is used. Each problem names its file and line.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeVar

from board_client.cli.failure import BadInput, Problem
from board_client.cli.toml_lines import TomlLines
from board_client.regular_file import content

T = TypeVar("T")

FENCE = "+++"
MAX_PHASE_ID = 256
MAX_BOARD_NAME = 128

_BOARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_IN_BOARD_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase file: its head, its ID, and the IDs of the phases that it depends on."""

    head: TomlLines
    phase_id: str
    depends_on: tuple[str, ...]

    def problem(self, key: str, text: str) -> Problem:
        """Return a problem with one key of the head."""
        return Problem(self.head.path, self.head.line_of(key), text)


@dataclass(frozen=True, slots=True)
class Nebula:
    """A plan: its name as its author wrote it, and its phases in the order of their files."""

    name: str
    phases: tuple[Phase, ...]


def read_nebula(directory: Path) -> Nebula:
    """Read and check a nebula. Raises BadInput with every problem."""
    files = _phase_files(directory)
    problems: list[Problem] = []
    name = _collecting(problems, _read_name, directory / "nebula.toml")
    phases = [p for path in files if (p := _collecting(problems, _read_phase, path))]
    problems += _repeated_ids(phases)
    if len(phases) == len(files):  # else a file that cannot be read may have the ID
        problems += _unknown_dependencies(phases)
    problems += _cycles(phases)
    if problems or name is None:
        raise BadInput(sorted(problems, key=lambda problem: (problem.path, problem.line)))
    return Nebula(name, tuple(phases))


def needed_by(nebula: Nebula, phase_id: str) -> list[str]:
    """Return the IDs of the phases that one depends on: its own first, then theirs, and so on.

    Raises KeyError if the nebula has no such phase.
    """
    depends_on = {phase.phase_id: phase.depends_on for phase in nebula.phases}
    found = list(dict.fromkeys(depends_on[phase_id]))
    for needed in found:
        found += [each for each in dict.fromkeys(depends_on[needed]) if each not in found]
    return found


def board_name(name: str) -> str:
    """Return the board name for a nebula's name; "" if there is none.

    A valid board name stays. In others, each run of invalid characters becomes one
    hyphen, and hyphens at the ends are removed.
    """
    if _BOARD_NAME.fullmatch(name) and len(name) <= MAX_BOARD_NAME:
        return name
    return _NOT_IN_BOARD_NAMES.sub("-", name).lstrip("._-")[:MAX_BOARD_NAME].rstrip("-")


def _collecting(problems: list[Problem], read: Callable[[Path], T], path: Path) -> T | None:
    """Read one file. Add its problems to the list instead of raising them."""
    try:
        return read(path)
    except BadInput as bad:
        problems += bad.problems
        return None


def _phase_files(directory: Path) -> list[Path]:
    try:
        files = sorted(
            path
            for path in directory.iterdir()
            if path.suffix == ".md" and not path.name.startswith(".")
        )
    except OSError as error:
        raise BadInput([Problem(directory, 0, str(error.strerror))]) from error
    if not files:
        raise BadInput([Problem(directory, 0, "holds no phase files (*.md)")])
    return files


def _read_lines(path: Path) -> list[str]:
    try:
        read = content(path)
    except OSError as error:
        raise BadInput([Problem(path, 0, str(error.strerror))]) from error
    try:
        text = read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = read.count(b"\n", 0, error.start) + 1
        raise BadInput([Problem(path, line, "not valid UTF-8")]) from error
    return text.replace("\r\n", "\n").split("\n")


def _read_name(path: Path) -> str:
    toml = TomlLines(path, _read_lines(path), above=0)
    table = toml.values.get("nebula")
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(name, str) or not name:
        line = toml.line_of("nebula", "name") or toml.line_of("nebula") or 1
        raise BadInput([Problem(path, line, "the nebula's name is missing: [nebula] name")])
    return name


def _read_phase(path: Path) -> Phase:
    lines = _read_lines(path)
    fences = [number for number, line in enumerate(lines) if line.rstrip() == FENCE]
    if not fences or fences[0] != 0:
        raise BadInput([Problem(path, 1, f"a phase file begins with a line {FENCE}")])
    if len(fences) == 1:
        raise BadInput([Problem(path, 1, f"the head that begins here has no closing {FENCE}")])
    head = TomlLines(path, lines[1 : fences[1]], above=1)
    problems = [*_wrong_id(head), *_wrong_depends_on(head)]
    if problems:
        raise BadInput(problems)
    return Phase(head, head.values["id"], tuple(head.values.get("depends_on", ())))


def _wrong_id(head: TomlLines) -> Iterator[Problem]:
    phase_id = head.values.get("id")
    line = head.line_of("id") or 1
    if phase_id is None:
        yield Problem(head.path, line, "the head has no id")
    elif not isinstance(phase_id, str) or not phase_id:
        yield Problem(head.path, line, "id must be a string, and not empty")
    elif _CONTROL.search(phase_id):
        yield Problem(head.path, line, "id must not hold control characters")
    elif len(phase_id.encode()) > MAX_PHASE_ID:
        yield Problem(head.path, line, f"id must not be longer than {MAX_PHASE_ID} bytes")


def _wrong_depends_on(head: TomlLines) -> Iterator[Problem]:
    depends_on = head.values.get("depends_on", [])
    if not (isinstance(depends_on, list) and all(isinstance(each, str) for each in depends_on)):
        line = head.line_of("depends_on")
        yield Problem(head.path, line, "depends_on must be an array of strings")


def _repeated_ids(phases: Sequence[Phase]) -> Iterator[Problem]:
    first: dict[str, Phase] = {}
    for phase in phases:
        other = first.setdefault(phase.phase_id, phase)
        if other is not phase:
            yield phase.problem(
                "id", f'id "{phase.phase_id}" is that of {other.head.path.name} already'
            )


def _unknown_dependencies(phases: Sequence[Phase]) -> Iterator[Problem]:
    known = {phase.phase_id for phase in phases}
    for phase in phases:
        for wanted in phase.depends_on:
            if wanted not in known:
                yield phase.problem(
                    "depends_on", f'depends_on names "{wanted}", and no phase has that id'
                )


def _cycles(phases: Sequence[Phase]) -> Iterator[Problem]:
    """Yield one cycle, remove its phases, and look for another."""
    left = {
        phase.phase_id: phase for phase in reversed(phases)
    }  # the first of phases with equal IDs
    while True:
        try:
            TopologicalSorter({id_: phase.depends_on for id_, phase in left.items()}).prepare()
        except CycleError as error:
            # graphlib lists each phase before those that wait for it; print it the other way.
            waiting: list[str] = error.args[1][::-1]
            start = min(range(len(waiting) - 1), key=lambda at: left[waiting[at]].head.path)
            cycle = [*waiting[start:-1], *waiting[: start + 1]]
            text = f"dependency cycle: {' -> '.join(cycle)}"
            yield left[cycle[0]].problem("depends_on", text)
            for phase_id in cycle[:-1]:
                del left[phase_id]
        else:
            return
