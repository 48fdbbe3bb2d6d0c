"""The real `board` command, run against a real server."""

import json
import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from board_client import BoardClient
from tests.support.servers import server_process

COMMAND = Path(sys.executable).with_name("board")
FIXTURES = Path(__file__).parent.parent / "fixtures"
NEBULAS = FIXTURES / "nebulas"


def environment(**more):
    """Return the environment without the board's variables, and with `more`."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("BOARD_", "QUASAR_", "GRPC_"))}
    return ours | more


@dataclass
class Run:
    """How one run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def error(self):
        """The object that says why a command failed, under --json."""
        (line,) = self.err.splitlines()
        return json.loads(line)

    @property
    def rows(self):
        """The cells of each line that a table has in a pipe."""
        assert self.code == 0, self.err
        return [line.split("\t") for line in self.out.splitlines()]


def run(*arguments, stdin=b"", **variables):
    done = subprocess.run(
        [COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env=environment(**variables),
    )
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def started(*arguments, **variables):
    """Run the command in the background, with pipes; kill it at the end of the block."""
    with subprocess.Popen(
        [COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@dataclass
class Board:
    """The command with a target and a board of its own; `variables` are set in each run.

    `client` sees the same board without the start of a process.
    """

    target: str
    name: str = field(default_factory=lambda: f"b-{uuid.uuid4().hex}")
    client: BoardClient | None = None

    def __call__(self, *arguments, stdin=b"", **variables):
        return run(*arguments, stdin=stdin, **(self._where | variables))

    def start(self, *arguments, **variables):
        return started(*arguments, **(self._where | variables))

    @property
    def _where(self):
        return {"BOARD_TARGET": self.target, "BOARD_NAME": self.name}


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("cli") / "boards") as server:
        yield server.address
        assert server.stop() == 0


@pytest.fixture(scope="session")
def unopened(target):
    """The command with the name of a board that does not exist."""
    return Board(target)


@pytest.fixture
def board(target):
    """The command with an empty board."""
    made = Board(target)
    with BoardClient(target, made.name) as made.client:
        made.client.open_board()
        yield made


@pytest.fixture
def own_server(tmp_path):
    """The address of a server with no board but its default one, named boards."""
    with server_process(tmp_path / "boards") as server:
        yield server.address
        assert server.stop() == 0
