"""The signatures, docstrings and types of the methods, as editors and type checkers show them."""

import inspect
import pydoc
import re
import subprocess
import sys
import typing
from enum import StrEnum
from pathlib import Path

import pytest

from board_client import (
    AsyncBoard,
    AsyncBoardClient,
    AsyncBoardSession,
    Board,
    BoardClient,
    BoardSession,
    FileClaim,
    model,
)

ROOT = Path(__file__).parent.parent.parent

KINDS = pytest.mark.parametrize("kind", [BoardClient, AsyncBoardClient])


@KINDS
def test_a_method_shows_its_arguments_its_result_and_its_documentation(kind):
    signature = inspect.signature(kind.claim_files)
    assert list(signature.parameters) == ["self", "filepaths", "owner"]
    assert signature.return_annotation == list[FileClaim]
    assert typing.get_type_hints(kind.claim_files)["return"] == list[FileClaim]
    assert inspect.getdoc(kind.claim_files).startswith("Claim several files")


@KINDS
def test_help_shows_the_methods_of_a_client(kind):
    shown = pydoc.plain(pydoc.render_doc(kind))
    assert "claim_files(self, filepaths: collections.abc.Iterable[" in shown
    assert "Claim several files for the phase `owner`, all or none." in shown


@KINDS
def test_every_public_method_is_typed_and_documented(kind):
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.getdoc(method), name
            hints = inspect.get_annotations(method)
            assert hints.keys() == {*inspect.signature(method).parameters, "return"} - {"self"}


@pytest.mark.parametrize(
    ("plain", "with_await"),
    [(Board, AsyncBoard), (BoardClient, AsyncBoardClient), (BoardSession, AsyncBoardSession)],
)
def test_both_clients_take_the_same_arguments(plain, with_await):
    def arguments(kind):
        return {
            name: str(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert arguments(plain) == arguments(with_await)


@pytest.mark.parametrize(
    "enum",
    [
        model.PhaseState,
        model.ContractKind,
        model.ContractStatus,
        model.OnExpiry,
        model.EventKind,
    ],
)
def test_the_type_of_an_arguments_words_has_every_word_of_its_enum(enum: type[StrEnum]):
    kind, words = typing.get_args(getattr(model, f"{enum.__name__}Like"))
    assert kind is enum
    assert {*typing.get_args(words)} - {""} == {member.value for member in enum} - {""}


CORRECT = """
from board_client import AsyncBoardClient, Board, BoardClient, Contract, PhaseIn, PhaseState

def work(client: BoardClient) -> str:
    with client.session("w", on_expiry="requeue") as session:
        return take(session)

def take(board: Board) -> str:
    phase = board.set_phase_state("p", "running", worker="w", expected_state="")
    board.publish_contract(Contract("p", "type", "T", status="pending"))
    board.wait_for(PhaseIn("p", "done", PhaseState.FAILED))
    return board.set_phase_state("q", phase.state).worker

async def run(client: AsyncBoardClient) -> list[str]:
    return [contract.name for contract in await client.list_contracts(kind="file")]
"""

WRONG = """
from board_client import AsyncBoardClient, BoardClient, Contract, PhaseIn

def run(client: BoardClient, other: AsyncBoardClient) -> None:
    client.set_phase_state("p", "runing")
    client.set_phase_state("p", "running", expected_state="runing")
    client.list_contracts(kind="typ")
    client.session("w", on_expiry="explode")
    client.watch("phases")
    Contract("p", "typ", "T")
    PhaseIn("p", "dne")
    client.claim_file(1, "p")
    client.claim_file("a.go").owner
    other.list_phases().sort()
    client.file_owner("a.go").owner
"""


def test_mypy_accepts_what_is_correct_and_refuses_every_line_that_is_wrong(tmp_path):
    correct, wrong = tmp_path / "correct.py", tmp_path / "wrong.py"
    correct.write_text(CORRECT)
    wrong.write_text(WRONG)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", correct, wrong],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"(\w+\.py):(\d+): error:", checked.stdout)
    expected = range(5, len(WRONG.splitlines()) + 1)
    assert found == [("wrong.py", str(number)) for number in expected], checked.stdout
