"""The commands in the documents run, and their links lead to files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from board_client import BoardClient
from board_client.v1 import board_pb2 as pb
from board_server.wire.statuses import TABLE
from tests.support.servers import server_process

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_readme_leads_a_newcomer_from_a_nebula_to_a_finished_phase(tmp_path):
    with server_process(tmp_path / "boards") as server:
        for command in re.findall(r"^\$ \.venv/bin/(board .*)$", README, re.MULTILINE):
            program, *arguments = command.split()
            subprocess.run(
                [Path(sys.executable).with_name(program), *arguments],
                cwd=ROOT,
                env={"BOARD_TARGET": server.address},
                check=True,
                capture_output=True,
            )
        (worker,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        script = worker.replace("127.0.0.1:7447", server.address)
        subprocess.run([sys.executable, "-c", script], check=True)
        with BoardClient(server.address, "cosmetic-refactor") as board:
            assert board.get_phase_state("watcher-remove-dead-check") == "done"
            assert len(board.contracts_for("watcher-remove-dead-check")) == 1
            assert board.list_claims() == []
            assert len(board.list_phases("queued")) == 17


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_of_a_document_leads_to_a_file(document):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    for link in links:
        if "://" not in link:
            assert (document.parent / link).exists(), link


def test_the_document_of_errors_has_every_reason_with_its_status():
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| ([A-Z_]+) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
    )
    documented = dict(rows)
    reasons = [name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.keys()]
    assert sorted(documented) == sorted(set(reasons) - {"UNSPECIFIED"})
    for code, reason in TABLE.values():
        assert documented[pb.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")] == code.name
