"""The code of docs/go.md, compiled in a module that requires the client as the text says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "go.md").read_text()
MODULE = "github.com/papapumpkin/quasar-board/go"
BLOCK = re.compile(r"^```(go|diff)\n(.*?)^```", re.MULTILINE | re.DOTALL)
IMPORTS = re.compile(r"^import \(\n.*?^\)\n", re.MULTILINE | re.DOTALL)

# The variables and functions that the fragments use.
SURROUNDINGS = f"""package block

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"{MODULE}/board"
	"{MODULE}/boardtest"
)

var (
	_ = fmt.Println
	_ = filepath.Join
	_ = time.Second
	_ = boardtest.Run
	_ *testing.T

	ctx                 context.Context
	b                   *board.Client
	contracts           []board.Contract
	id, path, dir, name string
	workers             chan int
)

func replan(*board.Snapshot) {{}}
func phaseIs(*board.Phase, string) {{}}
func workerEnded(int) {{}}

type SQLiteBoard struct{{ board.Board }}

func NewSQLiteBoard(ctx context.Context, dbPath string) (*SQLiteBoard, error) {{ return nil, nil }}

"""


def after(diff):
    """Return the code of a diff after the change."""
    return "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] != "-")


def files():
    """The blocks of the manual as Go files, by name."""
    for number, (kind, code) in enumerate(BLOCK.findall(MANUAL)):
        text = IMPORTS.sub("", after(code)) if kind == "diff" else code
        if "\npackage " in text:
            yield f"package{number}/block.go", text
        elif text.startswith("func "):
            yield f"block{number}/block.go", SURROUNDINGS + text
        else:
            result = "" if "\treturn\n" in text else "error"
            end = "return nil\n" if result else ""
            function = f"func block() {result} {{\n{text}\n{end}}}\n"
            yield f"block{number}/block.go", SURROUNDINGS + function


@pytest.mark.timeout(600)  # the first time compiles grpc
def test_the_code_of_the_manual_compiles_in_a_module_elsewhere(go, tmp_path):
    (tmp_path / "quasar-board").symlink_to(ROOT)
    project = tmp_path / "my-project"
    project.mkdir()
    shutil.copy(ROOT / "go" / "go.sum", project)  # spares the checksum database
    run(go, "mod", "init", "example.com/mine", cwd=project)
    for command in re.findall("^go (mod edit .*)$", MANUAL, re.MULTILINE):
        run(go, *command.split(), cwd=project)
    blocks = dict(files())
    assert len(blocks) >= 8
    for name, text in blocks.items():
        (project / name).parent.mkdir()
        (project / name).write_text(text)
    run(go, "build", "-mod=mod", "./...", cwd=project)  # which adds what is required, as tidy does


def run(*command, cwd):
    """Run a command; a failure shows what it printed."""
    ran = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
