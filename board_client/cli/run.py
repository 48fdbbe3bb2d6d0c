"""`board run`: any command as a worker, with a session for as long as it runs."""

import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from board_client.cli.command import Command
from board_client.cli.connection import connect, failure_of
from board_client.cli.duration import duration
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.paths import repository_paths
from board_client.cli.settings import OWN_PHASE, OWN_SESSION, OWN_WORKER, Settings, settings
from board_client.cli.take import runs_in_another_session, take, taken
from board_client.model import OnExpiry, PhaseState

if TYPE_CHECKING:
    from board_client.backoff import Retry
    from board_client.board import Board

_ON_EXPIRY = [word.value for word in OnExpiry if word]


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND [ARGUMENTS]...", show_default=False)
    ],
    session: Annotated[
        bool,
        typer.Option(
            "--session",
            help="Hold a session while the command runs: should it or its machine die, "
            "its files are released and its phase is failed or queued again.",
        ),
    ] = False,
    phase: Annotated[
        str,
        typer.Option(
            metavar="PHASE", envvar=OWN_PHASE, help="Set running before, done or failed after."
        ),
    ] = "",
    worker: Annotated[
        str,
        typer.Option(
            metavar="WORKER", envvar=OWN_WORKER, show_default="HOST-PID", help="Name of the worker."
        ),
    ] = "",
    ttl: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=duration,
            show_default="30s",
            help="How soon after its last sign of life the session ends: 1s to 24h.",
        ),
    ] = timedelta(seconds=30),
    on_expiry: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            autocompletion=lambda: _ON_EXPIRY,
            help=f"What becomes of the phase then: {' or '.join(_ON_EXPIRY)}.",
        ),
    ] = OnExpiry.FAIL.value,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Claim this file for the phase; may be given several times."
        ),
    ] = None,
    grace: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=duration,
            show_default="10s",
            help="Where the session is lost: the time between SIGTERM and SIGKILL.",
        ),
    ] = timedelta(seconds=10),
) -> None:
    """Run a command as the worker of a phase, and complete the phase by its exit code.

    Files are claimed, the phase is set running, and the command is started with
    BOARD_TARGET, BOARD_NAME, BOARD_SESSION, BOARD_WORKER and QUASAR_TASK_ID set,
    so that the `board` commands in it belong to the session. An exit code of 0
    completes the phase as done, any other as failed, unless the command has set
    its phase itself. Its exit code is ours, 128 + N where signal N ended it.

    A phase that another session runs is refused, and we exit with 5. If the session
    is lost, the command and all that it has started are ended, and we exit with 6.

    Example: board run --session --phase board-store --claim go.mod -- ./worker.sh
    """
    given = settings(ctx, json=False)
    if claim and not phase:
        raise typer.BadParameter(f"needs --phase, or {OWN_PHASE}", param_hint="--claim")
    files = repository_paths(claim or ())
    _look_up(command[0])
    signal.signal(signal.SIGTERM, _stop)  # by way of the session's end
    worker = worker or f"{socket.gethostname()}-{os.getpid()}"
    with (
        connect(given) as client,
        client.session(worker, ttl, OnExpiry(on_expiry))
        if session
        else nullcontext(client) as ours,
    ):
        if phase:
            take(ours, phase, worker, files)
        environment = os.environ | _variables(given, ours.scope.session_id, phase, worker)
        patience = max(ttl.total_seconds(), given.timeout)
        with Command(command, environment) as running:
            code = _wait(
                running, ours, grace, lambda code: _complete(running, ours, phase, code, patience)
            )
    raise typer.Exit(code)


def _look_up(program: str) -> None:
    """Raise Failure where there is no such program, before anything is done for it."""
    if shutil.which(program):
        return
    if os.sep in program and Path(program).exists():
        raise Failure(f"cannot run {program}: not a program", ExitCode.CANNOT_RUN)
    raise Failure(f"{program}: command not found", ExitCode.NOT_FOUND)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise typer.Exit(128 + signal.SIGTERM)


def _variables(given: Settings, session_id: str, phase: str, worker: str) -> dict[str, str]:
    """Return what the command is told, in the environment."""
    told = {"BOARD_TARGET": given.target, "BOARD_NAME": given.board, OWN_WORKER: worker}
    told |= given.access.variables()
    if session_id:
        told[OWN_SESSION] = session_id
    if phase:
        told[OWN_PHASE] = phase
    return told


def _wait(
    command: Command, ours: "Board", grace: timedelta, complete: Callable[[int], None]
) -> int:
    """Wait for the command, complete its phase by its exit code, and return that.

    If the session is lost before that is done, end the command with all that it
    has started, and raise Failure.
    """
    from board_client.sync import BoardSession  # noqa: PLC0415  it imports grpc

    lost = ours.lost if isinstance(ours, BoardSession) else threading.Event()
    ending = threading.Thread(
        target=_end_when_lost, args=(command, lost, grace), name="session's end", daemon=True
    )
    ending.start()
    code = command.wait()
    try:
        if lost.is_set():
            raise Failure(
                f'session "{ours.scope.session_id}" has ended, and its work was handed on; '
                "the command was ended",
                ExitCode.SESSION_EXPIRED,
            )
        complete(code)
    except Failure as failure:
        if failure.code == ExitCode.SESSION_EXPIRED:
            lost.set()
            ending.join()
        raise
    return code


def _end_when_lost(command: Command, lost: threading.Event, grace: timedelta) -> None:
    lost.wait()
    command.end(grace.total_seconds())


def _complete(command: Command, ours: "Board", phase: str, code: int, patience: float) -> None:
    """Say how the phase ended, if there is one; retry for `patience` seconds, or until a signal."""
    from board_client.backoff import Retry  # noqa: PLC0415
    from board_client.errors import BoardError  # noqa: PLC0415  it imports grpc

    if not phase:
        return
    tries = Retry(patience)
    try:
        while not _try_to_complete(command, ours, phase, code, tries):
            pass
    except BoardError as error:
        why = failure_of(error, ours.target)
        raise Failure(f"{why}; the command had ended with {code}", why.code) from error


def _try_to_complete(
    command: Command, ours: "Board", phase: str, code: int, tries: "Retry"
) -> bool:
    """Return True once it is done, or False when it is time for the next try."""
    from board_client.errors import BoardError  # noqa: PLC0415  it imports grpc

    try:
        if session_id := ours.scope.session_id:
            ours.renew_session(session_id)  # raises SessionExpired where the work was handed on
        now = ours.get_phase(phase)
        if now and runs_in_another_session(ours, now):
            why = f"{taken(now)}, and was not completed; the command had ended with {code}"
            raise Failure(why, ExitCode.STATE_MISMATCH)
        if now and now.state == PhaseState.RUNNING:  # else the command has set it itself
            ours.complete_phase(phase, PhaseState.DONE if code == 0 else PhaseState.FAILED)
    except BoardError as error:
        if not command.pause(tries.pause(error)):
            raise
        return False
    return True
