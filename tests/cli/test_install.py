"""The package without the extra `[cli]`."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import environment, run

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def without_extra(tmp_path):
    """Variables that hide typer and rich, as after `pip install quasar-board`."""
    hide = "import sys\nsys.modules.update(typer=None, rich=None)\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    return {"PYTHONPATH": str(tmp_path)}


def test_the_client_needs_neither_typer_nor_rich():
    assert not [each for each in PROJECT["dependencies"] if each.startswith(("typer", "rich"))]


def test_every_module_outside_the_command_line_is_imported_without_the_extra(without_extra):
    files = [path.relative_to(ROOT) for path in (ROOT / "board_client").glob("*.py")]
    names = [".".join(path.with_suffix("").parts) for path in files]
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}; board_client.BoardClient"],
        env=environment(**without_extra),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["--help", "status", "serve"])
def test_the_command_names_the_extra_to_install(without_extra, command):
    failed = run(command, **without_extra)
    assert (failed.code, failed.out) == (1, "")
    assert failed.err == "board: the `board` command needs typer; pip install 'quasar-board[cli]'\n"


def test_no_command_loads_what_makes_its_start_slow():
    slow = {"pydantic", "importlib.metadata", "grpc", "rich", "asyncio"}
    loaded = f"import sys, board_client.cli.app; print({slow} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
