"""Make the generated code from proto/board/v1/board.proto.

The Python stubs go to board_client/v1, typed by mypy-protobuf. `--out DIR` makes
them elsewhere, which is how a test compares them with what is committed.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate_python(out: Path) -> None:
    """Make board_client/v1 under `out`.

    The virtual path makes protoc write `from board_client.v1 import board_pb2`,
    so that nothing has to be mended in its output.
    """
    scripts = Path(sys.executable).parent
    arguments = [
        "-Iboard_client/v1=proto/board/v1",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        "board_client/v1/board.proto",
    ]
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    """Read the arguments and generate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT, help="where to make them")
    generate_python(parser.parse_args().out.resolve())


if __name__ == "__main__":
    main()
