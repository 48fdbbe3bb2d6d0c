"""The Go module, required by a module outside of the checkout, as quasar requires it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.smoke

GO = Path(__file__).parents[2] / "go"
PATH = "github.com/papapumpkin/quasar-board/go"

PROGRAM = f"""package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"{PATH}/board"
)

func main() {{
	ctx := context.Background()
	b, err := board.Dial(ctx, os.Args[1], board.WithBoard("from-go"))
	if err != nil {{
		log.Fatal(err)
	}}
	defer b.Close()
	if err := b.SetPhaseState(ctx, "phase", board.StateDone); err != nil {{
		log.Fatal(err)
	}}
	state, err := b.GetPhaseState(ctx, "phase")
	if err != nil {{
		log.Fatal(err)
	}}
	fmt.Println(state)
}}
"""


@pytest.fixture
def go():
    """Run the Go command. Without Go the test is skipped; in CI it fails."""
    path = shutil.which("go")
    if path is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("there is no Go on the PATH")

    def run(*arguments, cwd):
        subprocess.run([path, *arguments], cwd=cwd, check=True)

    return run


@pytest.mark.timeout(300)  # the first time compiles grpc
def test_a_module_elsewhere_builds_with_the_client_and_reaches_a_server(go, server, tmp_path):
    (tmp_path / "main.go").write_text(PROGRAM)
    go("mod", "init", "example.com/dispatcher", cwd=tmp_path)
    go("mod", "edit", f"-replace={PATH}={GO}", f"-require={PATH}@v0.0.0", cwd=tmp_path)
    go("mod", "tidy", cwd=tmp_path)
    go("build", "-o", "dispatcher", ".", cwd=tmp_path)
    ran = subprocess.run(
        [tmp_path / "dispatcher", server.address], check=True, stdout=subprocess.PIPE, text=True
    )
    assert ran.stdout == "done\n"
