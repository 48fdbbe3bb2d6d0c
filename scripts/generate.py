"""Generate code, most of it from proto/board/v1/board.proto.

Writes the Python stubs to board_client/v1, with mypy-protobuf's type stubs; the Go stubs
to go/boardv1, with the plugins that go/go.mod pins, if Go is installed; the calls of
BoardClient, which derive from those of AsyncBoardClient; and the tables of docs/security.md,
which derive from board_server/wire/methods.py. `--out DIR` writes to another directory: a
test compares its contents with the committed files.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sync_board import sync_board

ROOT = Path(__file__).resolve().parent.parent

GO_MODULE_OF_ROOT = "github.com/papapumpkin/quasar-board"


def generate_python(out: Path) -> None:
    """Generate board_client/v1 under `out`.

    The virtual path makes protoc write `from board_client.v1 import board_pb2`, so that
    its output needs no corrections.
    """
    scripts = Path(sys.executable).parent
    protoc(
        "-Iboard_client/v1=proto/board/v1",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        "board_client/v1/board.proto",
    )


def generate_go(out: Path, go: str) -> None:
    """Generate go/boardv1 under `out`, with the `go` command at that path."""
    with TemporaryDirectory() as plugins:
        subprocess.run([go, "build", "-o", plugins, "tool"], cwd=ROOT / "go", check=True)
        protoc(
            "-Iproto",
            f"--plugin={plugins}/protoc-gen-go",
            f"--plugin={plugins}/protoc-gen-go-grpc",
            f"--go_out={out}",
            f"--go_opt=module={GO_MODULE_OF_ROOT}",
            f"--go-grpc_out={out}",
            f"--go-grpc_opt=module={GO_MODULE_OF_ROOT}",
            "board/v1/board.proto",
        )


def generate_tables(out: Path) -> None:
    """Generate docs/security.md under `out`, after the stubs, which the tables are checked with."""
    try:
        from security_tables import security_document  # noqa: PLC0415
    except KeyError as missing:
        sys.exit(f"docs/security.md was not generated: add a row for {missing} to wire/methods.py")
    (out / "docs").mkdir(exist_ok=True)
    (out / "docs" / "security.md").write_text(security_document())


def protoc(*arguments: str) -> None:
    """Run the protoc of grpcio-tools."""
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], cwd=ROOT, check=True)


def main() -> None:
    """Read the arguments and generate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT, help="directory to write to")
    out = parser.parse_args().out.resolve()
    generate_python(out)
    (out / "board_client" / "board.py").write_text(sync_board())
    if go := shutil.which("go"):
        generate_go(out, go)
    else:
        print("Go is not installed: go/boardv1 was not generated", file=sys.stderr)
    generate_tables(out)


if __name__ == "__main__":
    main()
