"""`board serve`: the only module that names a backend."""

import os

# Turn gRPC's own log off before grpc is imported: our errors already say what it would.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import asyncio
import logging
import resource
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import typer
import uvloop

from board_server import announcement
from board_server.command_output import print_error, wrong_usage
from board_server.config.grpc_engine import choose
from board_server.config.schema import BadConfig, Config
from board_server.config.sources import as_toml, command
from board_server.errors import BoardError, CannotListen, CannotTrace, StorageError
from board_server.files.reload import BadFile
from board_server.sqlite import SqliteStore
from board_server.sqlite.connection import UnsafeSqlite
from board_server.telemetry import logs

if TYPE_CHECKING:
    from board_server.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
)


@app.command()
@command
def serve(config: Config, print_config: bool) -> None:
    """Serve, or print the settings."""
    if print_config:
        print(as_toml(config), end="")  # noqa: T201
        return
    choose(config.engine)
    logs.configure(config.log_format, config.log_level)
    _allow_many_files(config)
    os.umask(0o077)  # boards are for their owner only
    uvloop.run(run(config))


def _allow_many_files(config: Config) -> None:
    """Raise the limit of open files, usually 1,024, to what connections and boards need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = config.files if hard == resource.RLIM_INFINITY else min(config.files, hard)
    if enough < config.files:
        log.warning(
            "%d files may be open, but %d may be needed: raise the limit (ulimit -n, LimitNOFILE), "
            "or lower max_connections or max_boards",
            enough,
            config.files,
        )
    if soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


async def run(config: Config) -> None:
    """Serve until a signal arrives. The first lines on standard output announce the addresses."""
    # These import grpc, after its engine was chosen.
    from board_server.rpc.server import serving  # noqa: PLC0415
    from board_server.telemetry.metrics import Metrics, exposed  # noqa: PLC0415
    from board_server.telemetry.tracing import tracing  # noqa: PLC0415

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _stopping():
        loop.add_signal_handler(number, stopped.set)
    _warn(config)
    metrics = Metrics()
    with tracing() as traced:
        store = open_store(config, metrics)
        async with AsyncExitStack() as running:
            addresses = await running.enter_async_context(serving(store, config, metrics, traced))
            # All addresses accept connections before the first is announced.
            lines = [announcement.listening(address) for address in addresses]
            if config.metrics_listen:
                where = await running.enter_async_context(exposed(metrics, config.metrics_listen))
                lines.append(announcement.metrics(f"http://{where}/metrics"))
            for line in lines:
                print(line, flush=True)  # noqa: T201
            await stopped.wait()


def open_store(
    config: Config, metrics: "Metrics", store: type[SqliteStore] = SqliteStore
) -> SqliteStore:
    """Return the store that `config` describes, a `store`; `metrics` counts its commits.

    Raises StoreUnavailable if the directory is missing and cannot be created.
    """
    return store(
        config.directory,
        synchronous=config.synchronous,
        keep_revisions=config.keep_revisions,
        keep_bytes=config.keep_bytes,
        max_queue=config.max_queue,
        max_boards=config.max_boards,
        pinned=config.default_board,
        on_commit=metrics.committed,
        on_close=metrics.closed,
    )


def _stopping() -> list[signal.Signals]:
    """Return the signals that shut the server down with its grace period.

    SIGHUP means that its terminal was closed. If it is ignored, as by nohup, it stays ignored.
    """
    stopping = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        stopping.append(signal.SIGHUP)
    return stopping


def _warn(config: Config) -> None:
    for address in config.exposed:
        log.warning("%s is not encrypted: others on the network can read and change calls", address)
    for address in config.open_to_all:
        log.warning(
            "%s requires neither a token nor a certificate: all who connect may do everything",
            address,
        )


def main() -> None:
    """Run `board serve`; print an error as one line on standard error."""
    try:
        code = app(prog_name="board serve", standalone_mode=False)
    except typer.Abort:
        code = 1
    except StorageError as error:
        code = _refuse(error.located)
    except (
        BadConfig,
        BadFile,
        BoardError,
        CannotListen,
        CannotTrace,
        UnsafeSqlite,
    ) as error:
        code = _refuse(str(error))
    except typer.TyperException as error:
        code = _refuse(wrong_usage(error, "board serve"), "WRONG_USAGE")
    sys.exit(code)


def _refuse(why: str, reason: str = "ERROR") -> int:
    print_error("board serve", " ".join(why.split()), reason)
    return 1


if __name__ == "__main__":
    main()
