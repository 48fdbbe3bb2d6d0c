"""The Go modules, if Go is installed: their format, go vet, and their own tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "go"
EXAMPLES = CLIENT / "examples"
MODULES = pytest.mark.parametrize("module", [CLIENT, EXAMPLES], ids=["client", "examples"])


def run(*command, module=CLIENT, **environment):
    """Run a command in a module; return its output, which a failure shows."""
    ran = subprocess.run(
        command,
        cwd=module,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode:
        pytest.fail(f"{' '.join(command)}\n{ran.stdout}", pytrace=False)
    return ran.stdout


@pytest.mark.lint
def test_the_go_code_is_formatted(go):
    assert run(str(Path(go).with_name("gofmt")), "-l", ".") == ""


@pytest.mark.lint
@MODULES
@pytest.mark.timeout(600)  # the first time compiles grpc
def test_go_vet_finds_nothing(go, module):
    run(go, "vet", "./...", module=module)


def test_users_of_the_client_inherit_no_dependency_of_the_examples(go):
    required = {line.split()[0] for line in run(go, "list", "-m", "all").splitlines()}
    assert "google.golang.org/grpc" in required
    assert not {path for path in required if "toml" in path.lower() or "sqlite" in path}


# -count=1: Go must not reuse results, because it does not know that the server has changed.
# Four tests at a time, because many wait. SQLite, translated from C, is not checked for races.
TEST = ("test", "-count=1", "-vet=off", "-parallel=4")
RACE = ("-race", "-gcflags=modernc.org/...=-race=false")


@MODULES
@pytest.mark.timeout(900)  # the first time compiles grpc and SQLite, for the race detector
def test_the_go_tests_pass_under_the_race_detector(go, module):
    compiler = run(go, "env", "CC").strip()
    python = {"BOARD_PYTHON": sys.executable}
    if shutil.which(compiler):
        run(go, *TEST, *RACE, "./...", module=module, CGO_ENABLED="1", **python)
        return
    run(go, *TEST, "./...", module=module, **python)
    missing = pytest.fail if os.environ.get("CI") else pytest.skip
    missing(f"passed, but without the race detector, which needs the C compiler {compiler}")
