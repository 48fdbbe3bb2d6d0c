"""The options of a client that the environment gives."""

from collections.abc import Mapping
from typing import Any

from board_client.credentials import Credentials
from board_client.target import DEFAULT_TARGET


def options_from(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a client's constructor that the variables give, by name."""
    return {
        "target": environment.get("BOARD_TARGET") or DEFAULT_TARGET,
        "board": environment.get("BOARD_NAME", ""),
        "session_id": environment.get("BOARD_SESSION", ""),
        "phase_id": environment.get("BOARD_PHASE") or environment.get("QUASAR_TASK_ID", ""),
        "credentials": Credentials.from_environment(environment),
    }
