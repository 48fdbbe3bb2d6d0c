"""Settings: what the options before the command say, and `--json`, which may follow it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

OWN_PHASE = "QUASAR_TASK_ID"
"""Environment variable in which the dispatcher tells a worker its phase."""

OWN_SESSION = "BOARD_SESSION"
"""Environment variable in which `board run` tells a command its session."""

OWN_WORKER = "BOARD_WORKER"
"""Environment variable in which `board run` tells a command its worker's name."""


@dataclass(frozen=True, slots=True)
class Access:
    """What to show a server, and by what to know it, as `board_client.Credentials` has it."""

    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token_file: Path | None = None

    def variables(self) -> dict[str, str]:
        """Return the same for the environment of a command."""
        files = {"CA": self.ca, "CERT": self.cert, "KEY": self.key}
        told = {f"BOARD_TLS_{name}": str(path) for name, path in files.items() if path}
        told |= {"BOARD_TLS": "1"} if self.tls else {}
        return told | ({"BOARD_TOKEN_FILE": str(self.token_file)} if self.token_file else {})


@dataclass(frozen=True, slots=True)
class Settings:
    """Which board to talk to, and how to answer.

    `timeout` is seconds for each call; `session` the ID of the session that the
    calls belong to, "" for none.
    """

    target: str
    board: str
    timeout: float
    session: str
    json: bool
    access: Access = Access()


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings(ctx: typer.Context, json: bool) -> Settings:
    """Return the settings of this run; `json` is the command's own flag."""
    given: Settings = ctx.obj
    return replace(given, json=given.json or json)
