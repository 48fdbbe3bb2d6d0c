"""`board run`: run any command as a worker, with a session for as long as it runs."""

import os
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from board_client.cli.command import Command
from board_client.cli.completion import complete_phase
from board_client.cli.connection import connect_board, failure_of
from board_client.cli.duration import duration
from board_client.cli.failure import ExitCode, Failure
from board_client.cli.paths import repository_paths
from board_client.cli.session import Expiry, Ttl, Worker, own_name
from board_client.cli.settings import (
    OWN_PHASE,
    OWN_SESSION,
    OWN_WORKER,
    QUASAR_PHASE,
    Settings,
    settings,
)
from board_client.cli.take import runs_in_another_session, take, taken
from board_client.model import OnExpiry, PhaseState

if TYPE_CHECKING:
    from board_client.backoff import Retry
    from board_client.board import Board
    from board_client.sync import BoardSession


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND [ARGUMENTS]...", show_default=False)
    ],
    hold_session: Annotated[
        bool,
        typer.Option(
            "--session",
            help="Open a session and renew it while the command runs. If this process or its "
            "machine dies, the files are released and the phase is failed or requeued.",
        ),
    ] = False,
    phase: Annotated[
        str,
        typer.Option(
            metavar="PHASE",
            envvar=OWN_PHASE,
            autocompletion=complete_phase,
            help="The phase: set running before, done or failed after the command.",
        ),
    ] = "",
    worker: Worker = "",
    ttl: Ttl = timedelta(seconds=30),
    on_expiry: Expiry = OnExpiry.FAIL.value,
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
            help="If the session is lost, wait this long between SIGTERM and SIGKILL.",
        ),
    ] = timedelta(seconds=10),
) -> None:
    """Run a command as the worker of a phase.

    Claim the files, set the phase running, and start the command with BOARD_TARGET,
    BOARD_NAME, BOARD_SESSION, BOARD_WORKER, BOARD_PHASE and QUASAR_TASK_ID set, so that
    the `board` commands in it belong to the session. Exit code 0 completes the phase as
    done, any other as failed, unless the command has set its phase itself. `run` exits
    with the command's exit code, or with 128 + N if signal N ended it.

    If another session runs the phase, exit with 5. If the session is lost, end the
    command and every process that it has started, and exit with 6.

    Example: board run --session --phase board-store --claim go.mod -- ./worker.sh
    """
    given = settings(ctx)
    if claim and not phase:
        raise typer.BadParameter(f"needs --phase, or {OWN_PHASE}", param_hint="--claim")
    files = repository_paths(claim or ())
    _look_up(command[0])
    signal.signal(signal.SIGTERM, _stop)  # closes the session
    worker = worker or own_name()
    with (
        connect_board(given) as client,
        client.session(worker, ttl, on_expiry)  # type: ignore[arg-type]  # the call checks it
        if hold_session
        else nullcontext(client) as ours,
    ):
        if phase:
            take(ours, phase, worker, files)
        environment = os.environ | _variables(given, ours, phase, worker)
        patience = max(ttl.total_seconds(), given.timeout)
        with Command(command, environment) as running:
            code = _wait(
                running, ours, grace, lambda code: _complete(running, ours, phase, code, patience)
            )
    raise typer.Exit(code)


def _look_up(program: str) -> None:
    """Raise Failure if there is no such program."""
    if shutil.which(program):
        return
    if os.sep in program and Path(program).exists():
        raise Failure(f"cannot run {program}: not a program", ExitCode.CANNOT_RUN)
    raise Failure(f"{program}: command not found", ExitCode.NOT_FOUND)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise typer.Exit(128 + signal.SIGTERM)


def _variables(given: Settings, ours: "Board", phase: str, worker: str) -> dict[str, str]:
    """Return the environment variables for the command."""
    variables = {"BOARD_TARGET": given.target, "BOARD_NAME": ours.board, OWN_WORKER: worker}
    variables |= given.access.variables()
    if session_id := ours.scope.session_id:
        variables[OWN_SESSION] = session_id
    if phase:
        variables |= {OWN_PHASE: phase, QUASAR_PHASE: phase}
    return variables


def _wait(
    command: Command, ours: "Board", grace: timedelta, complete: Callable[[int], None]
) -> int:
    """Wait for the command, complete its phase by its exit code, and return the code.

    If the session is lost meanwhile, end the command and every process that it has
    started, and raise Failure.
    """
    from board_client.sync import BoardSession  # noqa: PLC0415  it imports grpc

    session = ours if isinstance(ours, BoardSession) else None
    lost = session.lost if session else threading.Event()
    ending = threading.Thread(
        target=_end_when_lost, args=(command, lost, grace), name="session's end", daemon=True
    )
    ending.start()
    code = command.wait()
    try:
        if session and lost.is_set():
            raise _lost(session)
        complete(code)
    except Failure as failure:
        if failure.code == ExitCode.SESSION_EXPIRED:
            lost.set()
            ending.join()
        raise
    return code


def _lost(session: "BoardSession") -> Failure:
    """Return the failure of a session that has ended or can no longer be renewed."""
    assert session.error
    why = failure_of(session.error, session.target)
    what = (
        "" if why.code == ExitCode.SESSION_EXPIRED else f'session "{session.session_id}" is lost: '
    )
    return Failure(
        f"{what}{why}; the command was ended",
        ExitCode.SESSION_EXPIRED,
        why.reason,
        why.metadata,
    )


def _end_when_lost(command: Command, lost: threading.Event, grace: timedelta) -> None:
    lost.wait()
    command.end(grace.total_seconds())


def _complete(command: Command, ours: "Board", phase: str, code: int, patience: float) -> None:
    """Complete the phase, if there is one; retry for `patience` seconds, or until a signal."""
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
        text = f"{why}; the command had ended with {code}"
        raise Failure(text, why.code, why.reason, why.metadata) from error


def _try_to_complete(
    command: Command, ours: "Board", phase: str, code: int, tries: "Retry"
) -> bool:
    """Complete the phase. Return False if the call failed and is to be tried again."""
    from board_client.errors import BoardError  # noqa: PLC0415  it imports grpc

    try:
        if session_id := ours.scope.session_id:
            ours.renew_session(session_id)  # raises SessionExpired if the session has ended
        now = ours.get_phase(phase)
        if now and runs_in_another_session(ours, now):
            why = f"{taken(now)}, and was not completed; the command had ended with {code}"
            raise Failure(why, ExitCode.STATE_MISMATCH)
        if now and now.state == PhaseState.RUNNING:  # else the command has set the state
            ours.complete_phase(phase, PhaseState.DONE if code == 0 else PhaseState.FAILED)
    except BoardError as error:
        if not command.pause(tries.pause(error)):
            raise
        return False
    return True
