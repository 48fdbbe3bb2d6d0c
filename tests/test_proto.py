"""The proto keeps buf's rules, and each of its RPCs has a method in each wing."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from board_client import AsyncBoardClient, BoardClient
from board_server.principal import Role
from board_server.rpc.servicer import BoardServicer
from board_server.store import Store
from board_server.wire.methods import METHODS, ROWS, SERVICE

ROOT = Path(__file__).parent.parent
BUF = Path(sys.executable).parent / "buf"

each_rpc = pytest.mark.parametrize("rpc", [method.name for method in SERVICE.methods])

SPECS_NAME = {"get_file_owner": "file_owner"}
"""RPCs whose method has another name in the specification's interface, and in the clients."""


STORES_NAME = {"watch": "follow", "wait_for": "find"}
"""RPCs that the hub implements, with these methods of the store."""


def snake(rpc: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BUF, *arguments], cwd=ROOT, check=False, stdout=-1, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.lint
def test_buf_lint_finds_nothing():
    ran = buf("lint")
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.lint
def test_the_proto_is_formatted():
    ran = buf("format", "--diff", "--exit-code")
    assert (ran.returncode, ran.stdout) == (0, "")


def test_buf_lint_makes_no_exceptions():
    config = (ROOT / "buf.yaml").read_text()
    assert {"STANDARD", "COMMENTS"} <= set(config.split())
    assert "except" not in config
    assert "ignore:" not in config.replace("disallow_comment_ignores:", "")


@each_rpc
def test_each_rpc_has_a_method_of_the_servicer(rpc):
    assert rpc in vars(BoardServicer)


@each_rpc
def test_each_rpc_has_a_method_of_the_store(rpc):
    assert STORES_NAME.get(snake(rpc), snake(rpc)) in vars(Store)


def test_each_rpc_has_one_row_in_the_table_of_methods():
    assert sorted(ROWS) == sorted(method.name for method in SERVICE.methods)


@each_rpc
def test_the_rpcs_without_an_idempotency_level_are_those_whose_store_method_takes_a_key(rpc):
    method = getattr(Store, STORES_NAME.get(snake(rpc), snake(rpc)))
    assert METHODS[rpc].keyed == ("key" in inspect.signature(method).parameters)


@each_rpc
def test_the_rpcs_without_side_effects_are_those_that_a_reader_may_call(rpc):
    assert METHODS[rpc].reads == (METHODS[rpc].row.role is Role.READER)


@each_rpc
@pytest.mark.parametrize("client", [BoardClient, AsyncBoardClient])
def test_each_rpc_has_a_method_of_the_clients(rpc, client):
    name = SPECS_NAME.get(snake(rpc), snake(rpc))
    assert getattr(client, name).__doc__


@each_rpc
def test_each_rpc_is_called_by_a_test_of_its_own(rpc):
    tests = "".join(file.read_text() for file in (ROOT / "tests" / "rpc").glob("test_*.py"))
    assert re.search(rf"\.{rpc}\b", tests)


@pytest.mark.parametrize(
    "message", [method.input_type for method in SERVICE.methods], ids=lambda m: m.name
)
def test_each_request_begins_with_the_board(message):
    assert (message.fields[0].name, message.fields[0].number) == ("board", 1)
