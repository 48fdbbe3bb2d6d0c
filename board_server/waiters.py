"""Waiters: thousands may wait for conditions; a commit looks only at those it concerns."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from board_server.errors import BoardError
from board_server.model import (
    Change,
    Commit,
    Condition,
    Contract,
    ContractCondition,
    Event,
    Evidence,
    FileClaim,
    FileCondition,
    Phase,
    PhaseCondition,
    Revised,
)

Topic = tuple[str, str]
"""What a condition looks at, and an event tells of: a phase, a file, or a contract's name."""


class Waiter:
    """One who waits, with what meets each of its conditions so far."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.conditions = conditions
        self.met = _future()
        self._evidence: list[Evidence] | None = None
        self._revision = 0
        self._early: list[Commit] = []

    def begin(self, found: Revised[list[Evidence]]) -> None:
        """Start from what the store has found, and what was committed since.

        `met` is then to be awaited. None there means that the store has to be
        asked again: a contract has gone over to another package, and others may
        be in its place.
        """
        if self.met.done():
            self.met = _future()
        self._evidence, self._revision = list(found.value), found.revision
        self._settle(self._revision)
        early, self._early = self._early, []
        for commit in early:
            self.committed(commit)

    def committed(self, commit: Commit) -> None:
        """Take in a commit that concerns one of the conditions."""
        if self._evidence is None:
            self._early.append(commit)
        elif commit.revision > self._revision and not self.met.done():
            if all(self._take(event, self._evidence) for event in commit.events):
                self._settle(commit.revision)
            else:
                self._evidence = None
                self.met.set_result(None)

    def _take(self, event: Event, evidence: list[Evidence]) -> bool:
        """Take in an event; False when it takes a contract away."""
        known = True
        for index, condition in enumerate(self.conditions):
            match condition, event.record:
                case PhaseCondition(phase_id, states), Phase() as phase:
                    if phase.phase_id == phase_id:
                        there = event.change is Change.PHASE
                        evidence[index] = phase if there and phase.state in states else None
                case ContractCondition(), Contract() as contract:
                    held = evidence[index]
                    first = not isinstance(held, Contract) or contract.id <= held.id
                    if event.change is Change.CONTRACT_REMOVED:
                        evidence[index] = None  # they only ever go all at once
                    elif first and _meets(contract, condition):
                        evidence[index] = contract
                    elif isinstance(held, Contract) and contract.id == held.id:
                        known = False
                case FileCondition(filepath), FileClaim() as claim:
                    if claim.filepath == filepath:
                        free = event.change is Change.RELEASED
                        evidence[index] = condition if free else None
        return known

    def _settle(self, revision: int) -> None:
        if self._evidence and None not in self._evidence and not self.met.done():
            self.met.set_result(Revised(self._evidence, revision))


def _future() -> asyncio.Future[Revised[list[Evidence]] | None]:
    return asyncio.get_running_loop().create_future()


class Waiters:
    """All who wait on one board, by what they wait for."""

    def __init__(self) -> None:
        self._by_topic: defaultdict[Topic, set[Waiter]] = defaultdict(set)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def add(self, conditions: Sequence[Condition]) -> Iterator[Waiter]:
        """Keep a waiter for the time of a `with` block."""
        waiter = Waiter(conditions)
        topics = {_topic(condition) for condition in conditions}
        for topic in topics:
            self._by_topic[topic].add(waiter)
        self._count += 1
        try:
            yield waiter
        finally:
            self._count -= 1
            for topic in topics:
                self._by_topic[topic].discard(waiter)
                if not self._by_topic[topic]:
                    del self._by_topic[topic]

    def committed(self, commit: Commit) -> None:
        """Tell the waiters whom a commit concerns."""
        if not self._count:
            return
        concerned: set[Waiter] = set()
        for event in commit.events:
            for topic in _topics(event):
                concerned |= self._by_topic.get(topic, set())
        for waiter in concerned:
            waiter.committed(commit)

    def end(self, error: BoardError) -> None:
        """Answer everyone with the error."""
        for waiters in self._by_topic.values():
            for waiter in waiters:
                if not waiter.met.done():
                    waiter.met.set_exception(error)
                    waiter.met.exception()  # whoever waits may be gone, or ask the store just now


def _topic(condition: Condition) -> Topic:
    match condition:
        case PhaseCondition():
            return "phase", condition.phase_id
        case ContractCondition():
            return "contract", condition.name or ""
        case FileCondition():
            return "file", condition.filepath


def _topics(event: Event) -> tuple[Topic, ...]:
    match event.record:
        case Phase() as phase:
            return (("phase", phase.phase_id),)
        case Contract() as contract:
            return ("contract", contract.name), ("contract", "")
        case FileClaim() as claim:
            return (("file", claim.filepath),)
        case _:
            return ()


def _meets(contract: Contract, condition: ContractCondition) -> bool:
    return (
        condition.producer in {None, contract.producer}
        and condition.kind in {None, contract.kind}
        and condition.name in {None, contract.name}
        and condition.package in {None, contract.package}
    )
