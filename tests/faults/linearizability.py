"""Check whether a history of one object is linearizable: Wing and Gong's search, with a memo.

A history has the operations of concurrent clients: when each was called, when it returned, and
its result. It is linearizable if each operation can be assigned a moment between its call and
its return such that, in the order of these moments, every result follows from the rules of the
object. An operation without a result may have happened at any moment after its call, or never.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

NEVER = math.inf
"""The return time of an operation without a known result."""


@dataclass(frozen=True)
class Operation:
    """One call: `called` and `returned` are moments of one clock, `returned` NEVER if in doubt."""

    call: Hashable
    result: Any
    called: float
    returned: float = NEVER

    @property
    def in_doubt(self) -> bool:
        return self.returned == NEVER


Step = Callable[[Hashable, Hashable], tuple[Hashable, Any]]
"""The rules of an object: from state and call to next state and result."""


def is_linearizable(history: Sequence[Operation], initial: Hashable, step: Step) -> bool:
    """Return whether some order of the operations explains all results."""
    operations = sorted(history, key=lambda operation: operation.called)
    everything = (1 << len(operations)) - 1
    doubtful = sum(1 << n for n, operation in enumerate(operations) if operation.in_doubt)
    seen: set[tuple[int, Hashable]] = set()
    pending = [(0, initial)]  # which operations have happened, as bits, and the state after them
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        happened, state = node
        if happened | doubtful == everything:
            return True
        for n in _next(operations, happened):
            after, result = step(state, operations[n].call)
            if operations[n].in_doubt or result == operations[n].result:
                pending.append((happened | 1 << n, after))
    return False


def _next(operations: Sequence[Operation], happened: int) -> list[int]:
    """Return the operations that can be next: those called before any remaining one returned."""
    found = []
    earliest_return = NEVER
    for n, operation in enumerate(operations):
        if operation.called > earliest_return:
            break
        if not happened >> n & 1:
            found.append(n)
            earliest_return = min(earliest_return, operation.returned)
    return found


def phase(state: Hashable, call: Hashable) -> tuple[Hashable, Any]:
    """A phase: ("set", s), ("swap", expected, s) and ("get",), with its state for a state."""
    match call:
        case ("set", new):
            return new, new
        case ("swap", expected, new):
            return (new, new) if state == expected else (state, ("mismatch", state))
        case _:
            return state, state


def claim(owner: Hashable, call: Hashable) -> tuple[Hashable, Any]:
    """A file: ("claim", o), ("release", o) and ("owner",), with its owner or "" for a state."""
    match call:
        case ("claim", new):
            return (new, new) if owner in {"", new} else (owner, ("conflict", owner))
        case ("release", holder):
            return ("", 1) if owner == holder else (owner, 0)
        case _:
            return owner, owner
