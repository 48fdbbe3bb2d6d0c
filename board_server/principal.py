"""Principals: who makes a call, with which role, and bound to which boards and worker."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a principal may do. Each role may do all that the roles below it may."""

    READER = 1
    WORKER = 2
    DISPATCHER = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a call.

    `name` is the name of the token, "" on a server without tokens. `boards` are the only boards
    that it may use, None for all. `worker` is the only worker's name that it may give, "" for any.
    """

    name: str
    role: Role
    boards: frozenset[str] | None = None
    worker: str = ""

    @property
    def bound(self) -> bool:
        """Whether it is bound to boards or a worker, so that its requests must be checked."""
        return self.boards is not None or self.worker != ""


ANYONE = Principal("", Role.ADMIN)
"""The principal of every call to a server without tokens."""
