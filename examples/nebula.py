"""Reads a nebula from its directory: nebula.toml, and a Markdown file for each phase."""

import graphlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class BadNebula(ValueError):
    """A file of a nebula that cannot be read. The text names the file and the reason."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A unit of work: the IDs of its dependencies, and the paths that it may change."""

    id: str
    title: str
    depends_on: tuple[str, ...]
    scope: tuple[str, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Nebula:
    """A plan: its name, and its phases in topological order."""

    name: str
    phases: tuple[Phase, ...]


def read_nebula(directory: Path) -> Nebula:
    """Read a nebula. Raises BadNebula."""
    plan = directory / "nebula.toml"
    name = _table(plan, _text(plan)).get("nebula", {}).get("name")
    if not name:
        raise BadNebula(f"{plan}: [nebula] has no name")
    phases: dict[str, Phase] = {}
    for path in sorted(directory.glob("*.md")):
        phase = read_phase(path)
        if phase.id in phases:
            raise BadNebula(f"{path}: {phases[phase.id].path} has the ID {phase.id} too")
        phases[phase.id] = phase
    return Nebula(name, tuple(phases[phase_id] for phase_id in _order(phases)))


def _order(phases: dict[str, Phase]) -> list[str]:
    for phase in phases.values():
        for before in phase.depends_on:
            if before not in phases:
                raise BadNebula(f"{phase.path}: depends on {before}, which is not a phase")
    try:
        graph = {phase.id: phase.depends_on for phase in phases.values()}
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        path = " -> ".join(error.args[1])
        raise BadNebula(f"the dependencies of the phases form a cycle: {path}") from error


def read_phase(path: Path) -> Phase:
    """Read a phase from the TOML between the two lines `+++`. Raises BadNebula."""
    parts = _text(path).split("+++\n", 2)
    if len(parts) < 3 or parts[0]:  # noqa: PLR2004  nothing, the head, the body
        raise BadNebula(f"{path}: does not begin with TOML between two lines +++")
    head = _table(path, parts[1])
    if not head.get("id"):
        raise BadNebula(f"{path}: has no id")
    return Phase(
        head["id"],
        head.get("title", ""),
        tuple(head.get("depends_on", ())),
        tuple(head.get("scope", ())),
        path,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise BadNebula(f"{path}: {error.strerror}") from error


def _table(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, or nested too deeply
        raise BadNebula(f"{path}: {error}") from error
