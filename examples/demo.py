"""Run a server, a dispatcher and its workers on a real nebula.

Everything is in a temporary directory and ends with this process. The exit code is 0 if
every phase is done and has published contracts, and no file is claimed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from live import summarize, watch
from nebula import read_nebula
from rich.console import Console

from board_client import BoardClient
from board_server.announcement import address_in

HERE = Path(__file__).resolve().parent
GO_EXAMPLES = HERE.parent / "go" / "examples"
GRACE = 15.0
"""Grace period of a process after SIGTERM, in seconds; then it is killed."""


def main() -> int:
    """Read the arguments and run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "nebula",
        type=Path,
        nargs="?",
        default=HERE / "nebulas" / "cosmetic-refactor",
        help="directory of the nebula (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, default=4, help="number of concurrent workers")
    parser.add_argument(
        "--pace", type=float, default=0.2, help="seconds that a worker spends on each file"
    )
    parser.add_argument("--python", action="store_true", help="use the dispatcher in Python")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    console = Console()
    with TemporaryDirectory(prefix="board-demo-") as temporary:
        return demo(console, Path(temporary), options)


def stop(number: int, _frame: object) -> None:
    """Exit through every `with` block, which ends its process; ignore further signals meanwhile."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def demo(console: Console, temporary: Path, options: argparse.Namespace) -> int:
    """Run everything in the directory `temporary`; return the exit code."""
    nebula = read_nebula(options.nebula)
    dispatcher = go_dispatcher(console, temporary) if not options.python else None
    repository = temporary / "repository"
    repository.mkdir()
    work = ["--repository", str(repository), "--pace", str(options.pace)]
    log = temporary / "dispatcher.log"
    with server(temporary / "boards") as target:
        arguments = ["--target", target, "--workers", str(options.workers)]
        if dispatcher:
            worker = [sys.executable, str(HERE / "worker.py"), *work]
            command = [str(dispatcher), *arguments, str(options.nebula), "--", *worker]
        else:
            stand_in = [sys.executable, str(HERE / "dispatcher.py")]
            command = [*stand_in, *arguments, *work, str(options.nebula)]
        with (
            BoardClient(target, nebula.name) as board,
            log.open("w") as log_file,
            process(command, stderr=log_file) as running,
        ):
            board.open_board()
            watch(console, board, nebula, until=running.wait)
            code = running.wait()
            complete = summarize(console, board, nebula, repository)
            if code == 0 and complete:
                return 0
    console.print(f"[red]The nebula is not complete.[/] The dispatcher's log:\n{log.read_text()}")
    return 1


def go_dispatcher(console: Console, temporary: Path) -> Path | None:
    """Build the Go dispatcher. If that is impossible, print why and return None."""
    go = shutil.which("go")
    if not go:
        console.print("Go is not installed: using examples/dispatcher.py instead.")
        return None
    console.print("Building go/examples/dispatcher ...")
    built = temporary / "dispatcher"
    build = [go, "build", "-o", str(built), "./dispatcher"]
    if subprocess.run(build, cwd=GO_EXAMPLES, check=False).returncode:
        console.print("The build failed: using examples/dispatcher.py instead.")
        return None
    return built


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """Serve boards in the directory; yield the address."""
    command = [sys.executable, "-m", "board_server", str(directory), "--listen", "127.0.0.1:0"]
    with process(command, stdout=subprocess.PIPE) as serving:
        assert serving.stdout
        address = address_in(serving.stdout.readline())
        if address is None:
            sys.exit("demo: the board server did not start")
        yield address


@contextmanager
def process(
    command: list[str], stdout: int | None = None, stderr: IO[str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a command until the end of the block, in a process group that Ctrl-C does not reach."""
    running = subprocess.Popen(
        command, stdout=stdout, stderr=stderr, text=True, start_new_session=True
    )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        if running.stdout:
            running.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
