"""The wheel, built from this checkout, and environments outside of it that have it installed."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support.servers import server_process

ROOT = Path(__file__).parents[2]


class Environment:
    """A new virtual environment that has the wheel and nothing of this checkout."""

    def __init__(self, directory, requirement):
        self.directory = directory
        venv.create(directory)
        pip("--python", directory, "install", "--constraint", ROOT / "constraints.txt", requirement)

    def command(self, name, *arguments):
        """Run a program of the environment in its own directory; return its output."""
        return subprocess.run(
            [self.directory / "bin" / name, *arguments],
            cwd=self.directory,
            env={"PATH": os.environ["PATH"]},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def python(self, program, *arguments):
        """Run a program's text with the environment's Python; return its output."""
        return self.command("python", "-I", "-c", program, *arguments)


def pip(*arguments):
    """Run pip of the environment that runs the tests."""
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], cwd="/", check=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The path of the wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", directory, ROOT)
    (wheel,) = directory.iterdir()
    return wheel


@pytest.fixture(scope="session")
def client(tmp_path_factory, wheel):
    """The environment of a worker: the client and the `board` command."""
    return Environment(tmp_path_factory.mktemp("client"), f"{wheel}[cli]")


@pytest.fixture(scope="session")
def server(tmp_path_factory, wheel):
    """A server from an environment that has what `board serve` needs; it ends by SIGTERM."""
    environment = Environment(tmp_path_factory.mktemp("server"), f"{wheel}[server]")
    board = environment.directory / "bin" / "board"
    with server_process(tmp_path_factory.mktemp("boards"), command=(board, "serve")) as running:
        yield running
        assert running.stop() == 0
