"""Settings: what the options before the command say, and `--json`, which may follow it."""

from dataclasses import dataclass, replace
from typing import Annotated

import typer

OWN_PHASE = "QUASAR_TASK_ID"
"""Environment variable in which the dispatcher tells a worker its phase."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Which board to talk to, and how to answer. `timeout` is seconds for each call."""

    target: str
    board: str
    timeout: float
    json: bool


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def settings(ctx: typer.Context, json: bool) -> Settings:
    """Return the settings of this run; `json` is the command's own flag."""
    given: Settings = ctx.obj
    return replace(given, json=given.json or json)
