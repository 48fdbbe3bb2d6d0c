"""Settings: what the options before the command say, and `--json`, which may follow it."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

OWN_PHASE = "QUASAR_TASK_ID"
"""Environment variable in which the dispatcher tells a worker its phase."""

OWN_SESSION = "BOARD_SESSION"
"""Environment variable in which `board run` tells a command its session."""

OWN_WORKER = "BOARD_WORKER"
"""Environment variable in which `board run` tells a command its worker's name."""


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


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings(ctx: typer.Context, json: bool) -> Settings:
    """Return the settings of this run; `json` is the command's own flag."""
    given: Settings = ctx.obj
    return replace(given, json=given.json or json)
