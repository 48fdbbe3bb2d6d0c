"""Who calls: a role, and what the caller is bound to."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a caller may do: each role all that those below it may."""

    READER = 1
    WORKER = 2
    DISPATCHER = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Caller:
    """One who may call: `boards` of None means all; `worker` is the only name it may bear, "" any.

    `name` is the token's; "" for whoever reaches a server that asks for none.
    """

    name: str
    role: Role
    boards: frozenset[str] | None = None
    worker: str = ""

    @property
    def bound(self) -> bool:
        """Whether it depends on the request what the caller may do."""
        return self.boards is not None or self.worker != ""


ANYONE = Caller("", Role.ADMIN)
"""The caller of a server that asks for no tokens."""
