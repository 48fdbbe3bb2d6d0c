"""constraints.txt locks the requirements of pyproject.toml."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def locked():
    """The version of each package in constraints.txt, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def required():
    """Every requirement of pyproject.toml: dependencies, extras and groups."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    requirements = [Requirement(line) for lines in lists for line in lines]
    return [each for each in requirements if each.name != project["name"]]


def test_every_requirement_is_locked_at_a_version_that_it_allows():
    versions = locked()
    stale = [
        str(each)
        for each in required()
        if versions.get(canonicalize_name(each.name), "") not in each.specifier
    ]
    assert stale == [], "run `make lock`"
