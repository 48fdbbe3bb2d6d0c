"""A client's options: arguments, with_options, the environment, and repr."""

import pydoc
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import board_client
from board_client import (
    AsyncBoardClient,
    BadCredentials,
    BoardClient,
    Contract,
    Credentials,
    InvalidArgument,
)

KINDS = pytest.mark.parametrize("kind", [BoardClient, AsyncBoardClient])


def test_all_options_can_be_changed_at_once(client):
    session = client.open_session("w")
    other = client.with_options(session_id=session.session_id, timeout=42)
    assert (other.board, other.session_id, other.timeout) == (client.board, session.session_id, 42)
    assert other.claim_file("a.go", "p").session_id == session.session_id
    assert client.claim_file("b.go", "p").session_id == ""


@KINDS
def test_an_option_that_is_not_given_stays_as_it_is(kind):
    client = kind("127.0.0.1:1", "b", session_id="s", phase_id="p", timeout=3)
    same = client.with_options(timeout=4)
    assert (same.board, same.session_id, same.phase_id) == ("b", "s", "p")
    assert client.with_options(session_id="t").timeout == 3
    assert client.with_options(board="b").session_id == "s"


@KINDS
def test_another_board_has_neither_the_session_nor_the_phase(kind):
    client = kind("127.0.0.1:1", "b", session_id="s", phase_id="p")
    other = client.with_options(board="c")
    assert (other.board, other.session_id, other.phase_id) == ("c", "", "")
    assert client.with_options(board="c", session_id="t").session_id == "t"


@KINDS
def test_from_environment_takes_what_board_run_gives_its_command(kind, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    client = kind.from_environment(
        {
            "BOARD_TARGET": "127.0.0.1:1",
            "BOARD_NAME": "b",
            "BOARD_SESSION": "s",
            "BOARD_PHASE": "p",
            "BOARD_TOKEN_FILE": str(token),
        },
        timeout=3,
    )
    assert (client.target, client.board, client.timeout) == ("127.0.0.1:1", "b", 3)
    assert (client.session_id, client.phase_id) == ("s", "p")
    assert client.credentials == Credentials(token_file=token)


@KINDS
def test_from_an_empty_environment_comes_the_default_board_of_this_machine(kind):
    client = kind.from_environment({"BOARD_TARGET": "", "BOARD_PHASE": ""})
    assert (client.target, client.board) == ("127.0.0.1:7447", "")
    assert (client.session_id, client.phase_id) == ("", "")
    assert kind.from_environment({"QUASAR_TASK_ID": "p"}).phase_id == "p"


@KINDS
def test_credentials_of_the_environment_that_cannot_be_used_are_refused(kind):
    with pytest.raises(BadCredentials):
        kind.from_environment({"BOARD_TLS_CERT": "/nowhere"})


@KINDS
def test_a_value_that_is_neither_yes_nor_no_does_not_turn_encryption_off(kind):
    with pytest.raises(BadCredentials, match='BOARD_TLS must be 1 or 0 and not "enabled"'):
        kind.from_environment({"BOARD_TLS": "enabled"})
    assert kind.from_environment({"BOARD_TLS": "Y"}).credentials.tls
    assert not kind.from_environment({"BOARD_TLS": "off"}).credentials.tls


PROGRAM = """
import os
from board_client import BoardClient

with BoardClient.from_environment() as board:
    (claim,) = board.claim_files(["a.go"], board.phase_id)
    print(board.phase_id, claim.session_id == board.session_id != "")
"""


def test_a_command_of_board_run_finds_its_board_its_session_and_its_phase(server, board):
    run = [Path(sys.executable).with_name("board"), "--target", server, "--board", board]
    ran = subprocess.run(
        [*run, "run", "--session", "--phase", "p1", "--", sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "p1 True\n", ran.stderr


@KINDS
@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 9e9, 10**400])
def test_a_timeout_over_a_year_is_a_year(kind, timeout):
    assert kind("127.0.0.1:1", timeout=timeout).timeout == 365 * 86_400
    assert kind("127.0.0.1:1").with_options(timeout=timeout).timeout == 365 * 86_400


def test_calls_of_a_client_with_an_infinite_timeout_succeed(client):
    patient = client.with_options(timeout=float("inf"))
    assert patient.set_phase_state("p", "done").state == "done"
    assert patient.get_snapshot().revision == 1
    assert [event.change for event in patient.events(0, 1)] == ["phase"]


NOT_POSSIBLE = {
    "a board": ("board", {"board": "\udcff"}, InvalidArgument),
    "a session": ("session_id", {"session_id": "\udcff"}, InvalidArgument),
    "a phase": ("phase_id", {"phase_id": "\udcff"}, InvalidArgument),
    "a timeout": ("timeout", {"timeout": float("nan")}, InvalidArgument),
    "a board of bytes": ("board", {"board": b"b"}, TypeError),
    "a timeout of text": ("timeout", {"timeout": "10"}, TypeError),
}


@KINDS
@pytest.mark.parametrize(("name", "option", "error"), NOT_POSSIBLE.values(), ids=NOT_POSSIBLE)
def test_an_invalid_option_is_refused_by_its_name(kind, name, option, error):
    with pytest.raises(error, match=f"^{name}"):
        kind("127.0.0.1:1", **option)
    if name != "phase_id":
        with pytest.raises(error, match=f"^{name}"):
            kind("127.0.0.1:1").with_options(**option)


@KINDS
def test_a_client_shows_its_options_and_no_secret(kind):
    client = kind("127.0.0.1:1", "b", timeout=3, credentials=Credentials(token="secret"))
    options = "board='b', target='127.0.0.1:1', session_id='', timeout=3"
    assert repr(client) == f"<{kind.__name__} {options}>"
    session = kind("127.0.0.1:1", "b", timeout=3).session("w")
    assert repr(session) == f"<{kind.__name__.replace('Client', 'Session')} {options}>"


def test_the_fields_of_a_contract_beyond_its_key_are_keyword_only():
    with pytest.raises(TypeError):
        Contract("p", "type", "T", "struct{}")
    assert Contract("p", "type", "T", signature="struct{}").signature == "struct{}"


def test_the_module_lists_and_documents_its_names():
    assert {*board_client.__all__, "__version__"} <= {*dir(board_client)}
    shown = pydoc.plain(pydoc.render_doc(board_client))
    assert "class BoardClient(board_client.board.Board)" in shown
    assert "claim_file(self, filepath:" in shown


def test_the_module_has_the_version_of_its_distribution():
    assert board_client.__version__ == version("quasar-board")
