"""The built wheel, installed outside of the checkout."""

import email
import re
import zipfile

import pytest
from packaging.requirements import Requirement

from tests.packaging.conftest import ROOT, pip

README = (ROOT / "README.md").read_text()

pytestmark = pytest.mark.smoke

WORKER = """
import sys
from board_client import BoardClient, Contract

with BoardClient(sys.argv[1], "nebula") as board:
    board.open_board()
    board.complete_phase("phase", "done", [Contract("phase", "function", "F")])
    print(board.get_phase_state("phase"), len(board.contracts_for("phase")))
"""


def test_the_wheel_holds_the_two_packages_with_stubs_types_and_migrations(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"board_client", "board_server"}
    generated = {name for name in names if name.startswith("board_client/v1/board_pb2")}
    assert generated == {
        f"board_client/v1/board_pb2{suffix}" for suffix in (".py", ".pyi", "_grpc.py", "_grpc.pyi")
    }
    assert {"board_client/py.typed", "board_server/py.typed"} <= set(names)
    assert "board_server/sqlite/migrations/0001_tables.sql" in names
    assert [name for name in names if "test" in name] == []


def test_the_client_can_be_imported_without_the_servers_dependencies(client):
    printed = client.python(
        "import board_client, importlib.util as util; print(util.find_spec('apsw'))"
    )
    assert printed == "None\n"


def test_the_board_command_runs_from_the_wheel(client):
    assert "Usage: board" in client.command("board", "--help")


def test_a_client_from_the_wheel_writes_to_a_server_from_the_wheel(client, server):
    assert client.python(WORKER, server.address) == "done 1\n"


def test_pip_installs_from_the_repository_as_the_readme_says(wheel, tmp_path):
    (command,) = re.findall(r'^\$ pip install "(.* @ git\+.*)"$', README, re.MULTILINE)
    requirement = Requirement(command)
    assert requirement.url == "git+https://github.com/papapumpkin/quasar-board"
    assert requirement.extras <= extras(wheel)
    local = f"{requirement.name} @ git+file://{ROOT}"
    pip("install", "--no-deps", "--target", tmp_path, local)
    assert (tmp_path / "board_client" / "py.typed").exists()


def extras(wheel):
    """The extras that the wheel declares."""
    archive = zipfile.ZipFile(wheel)
    (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(archive.read(path))
    return set(metadata.get_all("Provides-Extra"))
