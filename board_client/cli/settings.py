"""Settings: the global options, which may stand before or after the command."""

import os
from dataclasses import dataclass
from pathlib import Path

import typer

OWN_PHASE = "BOARD_PHASE"
"""Environment variable with the phase of the worker that runs the command."""

QUASAR_PHASE = "QUASAR_TASK_ID"
"""Environment variable in which quasar's dispatcher names that phase; BOARD_PHASE overrides it."""

OWN_SESSION = "BOARD_SESSION"
"""Environment variable in which `board run` names its session for the command."""

OWN_WORKER = "BOARD_WORKER"
"""Environment variable in which `board run` names its worker for the command."""


@dataclass(frozen=True, slots=True)
class Access:
    """Credentials for the server, with the fields of `board_client.Credentials`."""

    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token_file: Path | None = None

    def variables(self) -> dict[str, str]:
        """Return the same as environment variables."""
        files = {"CA": self.ca, "CERT": self.cert, "KEY": self.key}
        variables = {f"BOARD_TLS_{name}": str(path) for name, path in files.items() if path}
        if self.tls:
            variables["BOARD_TLS"] = "1"
        if self.token_file:
            variables["BOARD_TOKEN_FILE"] = str(self.token_file)
        return variables


@dataclass(frozen=True, slots=True)
class Settings:
    """Which board to use, and how to print.

    `board` is "" where none is named, `timeout` the seconds for each call, `session`
    the ID of the session that the calls belong to, "" for none.
    """

    target: str
    board: str
    timeout: float
    session: str
    json: bool
    access: Access = Access()


def settings(ctx: typer.Context) -> Settings:
    """Return the settings of this run."""
    given: Settings = ctx.obj
    return given


def read_older_variables() -> None:
    """Set BOARD_PHASE from quasar's variable if it is not set."""
    phase = os.environ.get(QUASAR_PHASE)
    if phase and not os.environ.get(OWN_PHASE):
        os.environ[OWN_PHASE] = phase
