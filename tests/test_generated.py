"""The generated files that are committed are what `make generate` makes today."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A directory with the output of the generator."""
    out = tmp_path_factory.mktemp("generated")
    generate = [sys.executable, ROOT / "scripts" / "generate.py", "--out", out]
    subprocess.run(generate, cwd=out, check=True)
    return out


def test_the_generator_makes_what_is_committed(made):
    files = [file.relative_to(made) for file in made.rglob("*") if file.is_file()]
    assert files
    stale = [
        str(file) for file in files if (made / file).read_bytes() != (ROOT / file).read_bytes()
    ]
    assert stale == [], "run `make generate`"


def test_the_generator_writes_every_committed_generated_file(made):
    here = ROOT / "board_client" / "v1"
    committed = {file.name for file in here.glob("*.py*") if file.name != "__init__.py"}
    assert committed == {file.name for file in (made / "board_client" / "v1").iterdir()}


@pytest.mark.parametrize("file", ["board_client/board.py", "docs/security.md"])
def test_what_derives_from_other_files_than_the_proto_is_made_too(made, file):
    assert (made / file).is_file()
