"""The files in deploy/ fit the server."""

import json
import re
import shutil
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from board_client import BoardClient
from board_server.config.schema import Config
from tests.operations.test_metrics import Samples
from tests.support.secured import ANY_PORT, running

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The names of all samples of a server after a write."""
    config = Config(tmp_path_factory.mktemp("boards"), "b", (ANY_PORT,))
    with running(config, expose=True) as server, BoardClient(server.address) as client:
        client.set_phase_state("p", "running")
        client.watch().close()
        return Samples(f"http://{server.metrics_address}/metrics").names()


def test_the_dashboard_uses_only_existing_metrics(exported):
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) > 10
    asked += [
        each["definition"] for each in dashboard["templating"]["list"] if each["type"] == "query"
    ]
    names = set(re.findall(r"\b(?:board|process)_\w+", " ".join(asked)))
    assert names <= exported


def test_the_document_describes_every_metric(exported):
    document = (ROOT / "docs" / "operations.md").read_text()
    for name in exported:
        if name.startswith("board_") and not name.startswith("board_build"):
            family = re.sub(r"_(?:bucket|count|sum|created)$", "", name)
            assert re.search(rf"`{family}(?:_total)?`", document), name


def test_the_example_settings_are_valid():
    settings = tomllib.loads((DEPLOY / "board.toml").read_text())
    assert settings.keys() <= {field.name for field in fields(Config)}
    paths = {name: Path(settings[name]) for name in ("directory", "tls_cert", "tls_key", "tokens")}
    Config(**settings | paths | {"listen": tuple(settings["listen"])})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_the_unit_file_is_valid(tmp_path):
    unit = tmp_path / "board.service"
    text = (DEPLOY / "board.service").read_text()
    unit.write_text(text.replace("/opt/board/bin/board", "/bin/true"))
    result = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert "board.service" not in result.stderr
