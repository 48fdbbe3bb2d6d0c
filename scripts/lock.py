"""Write constraints.txt: the version of every package that the project installs.

pip resolves all extras and dependency groups of pyproject.toml from scratch, with the
Python that runs this script. `make`, the container image and CI install with this file as
their constraints, so that all of them get the same packages until it is written again.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

HEADER = """\
# The versions that `make` and deploy/Containerfile install. Written by `make lock`
# (Python {}.{}); do not edit.
"""


def resolve() -> list[str]:
    """Return one `name==version` for each package, sorted by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = ",".join(project["project"]["optional-dependencies"])
    groups = [f"--group={group}" for group in project["dependency-groups"]]
    report = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
         "--report=-", f".[{extras}]", *groups],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    packages = [item["metadata"] for item in json.loads(report)["install"]]
    return sorted(
        f"{package['name'].lower()}=={package['version']}"
        for package in packages
        if package["name"] != project["project"]["name"]
    )


def main() -> None:
    """Resolve and write the file."""
    pins = resolve()
    header = HEADER.format(*sys.version_info)
    (ROOT / "constraints.txt").write_text(header + "\n".join(pins) + "\n")
    print(f"constraints.txt: {len(pins)} packages")


if __name__ == "__main__":
    main()
