"""`board serve`: the only place that names a backend."""

import os

# Before grpc is imported: what it would log of its own says nothing that our
# errors do not say better.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import asyncio
import logging
import resource
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from board_server.config import DEFAULT_LISTEN, BadConfig, Config
from board_server.engine import Engine, choose
from board_server.errors import BoardError
from board_server.sqlite import SqliteStore
from board_server.sqlite.connection import UnsafeSqlite
from board_server.sqlite.settings import Synchronous

MANY_FILES = 65_536

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory of the board files; made if absent.")
    ] = Path("boards"),
    board: Annotated[
        str,
        typer.Option(envvar="BOARD_NAME", help="Default board; named after DIR if not given."),
    ] = "",
    listen: Annotated[
        list[str],
        typer.Option(
            metavar="ADDR",
            envvar="BOARD_LISTEN",
            help="HOST:PORT (port 0 picks one) or unix:PATH; may be given several times.",
        ),
    ] = [DEFAULT_LISTEN],  # noqa: B006  typer copies it
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Allow addresses that other machines can reach."),
    ] = False,
    synchronous: Annotated[
        str,
        typer.Option(
            metavar="full|normal",
            help="When a write is on disk. normal is faster, and a power failure (not a "
            "crash) may then lose the last writes that were acknowledged.",
        ),
    ] = "full",
    keep_revisions: Annotated[
        int, typer.Option(min=1, help="How many revisions a watcher can go back.")
    ] = 100_000,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that calls may take after SIGTERM.")
    ] = 10.0,
    engine: Annotated[
        Engine,
        typer.Option(help="How gRPC does its I/O: poller in one thread, default as it chooses."),
    ] = Engine.POLLER,
) -> None:
    """Serve the boards of a directory over gRPC until SIGTERM or SIGINT."""
    choose(engine)
    from board_server.server import CannotListen  # noqa: PLC0415  the engine is chosen

    _allow_many_files()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = Config(directory, board, tuple(listen), insecure, grace)
        uvloop.run(run(config, _synchronous(synchronous), keep_revisions))
    except (BadConfig, BoardError, CannotListen, UnsafeSqlite) as error:
        print(f"board serve: {error}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1) from error


def _allow_many_files() -> None:
    """Let a thousand callers connect: the usual limit of open files is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def _synchronous(word: str) -> Synchronous:
    match word:
        case "full" | "normal":
            return word
        case _:
            raise BadConfig(f'--synchronous is "full" or "normal", not "{word}"')


async def run(config: Config, synchronous: Synchronous, keep_revisions: int) -> None:
    """Serve until a signal comes. The first lines on standard output tell the addresses."""
    from board_server.server import serving  # noqa: PLC0415  as above

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    store = SqliteStore(config.directory, synchronous=synchronous, keep_revisions=keep_revisions)
    async with serving(store, config) as addresses:
        for address in addresses:
            print(f"listening on {address}", flush=True)  # noqa: T201
        await stopped.wait()


if __name__ == "__main__":
    app(prog_name="board serve")
