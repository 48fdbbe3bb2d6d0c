"""Waiters: WaitFor calls, indexed so that a commit examines only those that it concerns."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from operator import attrgetter
from typing import Any

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

Shape = tuple[str, ...]
"""The names of the fields that a condition on contracts compares."""

Topic = tuple[str | Shape, Any]
"""What a condition depends on and what an event changes: a phase, a file, or the contracts that
have certain values in the fields of a shape."""

_FIELDS = ("producer", "kind", "name", "package")


class Changes:
    """A commit's events by topic, indexed once for all waiters."""

    def __init__(self, commit: Commit, wanted: Iterable[Topic], shapes: Iterable[Shape]) -> None:
        """Index the events of the `wanted` topics; `shapes` are those of the contract topics."""
        self.revision = commit.revision
        self._events = commit.events
        self.by_topic: dict[Topic, Event] = {}
        """The last event of a phase or a file; of contracts, the event of the lowest id."""
        for event in commit.events:
            for topic in _topics(event, shapes):
                if topic in wanted and not _has_higher_id(event, self.by_topic.get(topic)):
                    self.by_topic[topic] = event

    @cached_property
    def contracts(self) -> dict[int, Contract]:
        """The contracts that were published, by id."""
        return {
            event.record.id: event.record
            for event in self._events
            if event.change is Change.CONTRACT and isinstance(event.record, Contract)
        }


class Waiter:
    """One WaitFor call, with the evidence for each of its conditions so far."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.met = _future()
        """The result; see `begin`."""
        self.conditions = conditions
        self.held: frozenset[int] = frozenset()
        """The ids of contracts that meet a condition only while they keep their package."""
        self.topics: defaultdict[Topic, list[int]] = defaultdict(list)
        """The indexes of the conditions of each topic."""
        for index, condition in enumerate(conditions):
            self.topics[_topic(condition)].append(index)
        # The event of a contract that moves to another package has the topic of the new one only.
        self._packaged = [
            (index, condition)
            for index, condition in enumerate(conditions)
            if isinstance(condition, ContractCondition) and condition.package is not None
        ]
        self._evidence: list[Evidence] | None = None
        self._revision = 0
        self._early: list[Changes] = []

    @property
    def asking(self) -> bool:
        """Whether any contract may concern it: the store is reading which contracts it holds."""
        return bool(self._packaged) and self._evidence is None

    def holds(self) -> frozenset[int]:
        """Return the new value of `held`."""
        found = [self._evidence[index] for index, _ in self._packaged] if self._evidence else []
        return frozenset(contract.id for contract in found if isinstance(contract, Contract))

    def begin(self, found: Revised[list[Evidence]]) -> None:
        """Start from what the store has found, and apply the commits since then.

        Then await `met`: the evidence, or None if the store has to be asked again, because a
        contract that met a condition has moved to another package and another may meet it.
        """
        if self.met.done():
            self.met = _future()
        self._evidence, self._revision = list(found.value), found.revision
        self._complete_if_met(self._revision)
        early, self._early = self._early, []
        for changes in early:
            self.committed(changes)

    def committed(self, changes: Changes) -> None:
        """Apply a commit that concerns one of the conditions."""
        if self._evidence is None:
            self._early.append(changes)
        elif changes.revision > self._revision and not self.met.done():
            if self._loses_contract(changes, self._evidence):
                self._evidence = None
                self.met.set_result(None)
                return
            for topic, indexes in self.topics.items():
                if event := changes.by_topic.get(topic):
                    for index in indexes:
                        self._apply(event, index, self._evidence)
            self._complete_if_met(changes.revision)

    def _loses_contract(self, changes: Changes, evidence: list[Evidence]) -> bool:
        """Return whether a contract that is held moves to another package."""
        for index, condition in self._packaged:
            held = evidence[index]
            if isinstance(held, Contract):
                now = changes.contracts.get(held.id, held)
                if now.package != condition.package:
                    return True
        return False

    def _apply(self, event: Event, index: int, evidence: list[Evidence]) -> None:
        """Apply an event to the condition with this index."""
        match self.conditions[index], event.record:
            case PhaseCondition(_, states), Phase() as phase:
                exists = event.change is Change.PHASE
                evidence[index] = phase if exists and phase.state in states else None
            case ContractCondition(), Contract() as contract:
                held = evidence[index]
                if event.change is Change.CONTRACT_REMOVED:
                    evidence[index] = None  # only an archive removes contracts, and it removes all
                elif not isinstance(held, Contract) or contract.id <= held.id:
                    evidence[index] = contract
            case FileCondition() as condition, FileClaim():
                evidence[index] = condition if event.change is Change.RELEASED else None

    def _complete_if_met(self, revision: int) -> None:
        if self._evidence and None not in self._evidence and not self.met.done():
            self.met.set_result(Revised(self._evidence, revision))


def _future() -> asyncio.Future[Revised[list[Evidence]] | None]:
    return asyncio.get_running_loop().create_future()


class Waiters:
    """The waiters of one board, by what they wait for."""

    def __init__(self) -> None:
        self._by_topic: defaultdict[Topic, set[Waiter]] = defaultdict(set)
        self._by_contract: defaultdict[int, set[Waiter]] = defaultdict(set)  # that they hold
        self._asking: set[Waiter] = set()  # see Waiter.asking
        self._shapes: Counter[Shape] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def add(self, conditions: Sequence[Condition]) -> Iterator[Waiter]:
        """Add a waiter until the end of a `with` block."""
        waiter = Waiter(conditions)
        shapes = [topic[0] for topic in waiter.topics if isinstance(topic[0], tuple)]
        self._shapes.update(shapes)
        for topic in waiter.topics:
            self._by_topic[topic].add(waiter)
        self._count += 1
        self._index(waiter)
        try:
            yield waiter
        finally:
            self._count -= 1
            self._shapes -= Counter(shapes)
            self._asking.discard(waiter)
            for topic in waiter.topics:
                _discard(self._by_topic, topic, waiter)
            for contract in waiter.held:
                _discard(self._by_contract, contract, waiter)

    def begin(self, waiter: Waiter, found: Revised[list[Evidence]]) -> None:
        """Start a waiter from what the store has found."""
        waiter.begin(found)
        self._index(waiter)

    def committed(self, commit: Commit) -> None:
        """Pass a commit to the waiters that it concerns."""
        if not self._count:
            return
        changes = Changes(commit, self._by_topic, self._shapes)
        concerned: set[Waiter] = set()
        for topic in changes.by_topic:
            concerned |= self._by_topic[topic]
        if self._asking or self._by_contract:
            if changes.contracts:
                concerned |= self._asking
            for contract in changes.contracts.keys() & self._by_contract.keys():
                concerned |= self._by_contract[contract]
        for waiter in concerned:
            waiter.committed(changes)
            self._index(waiter)

    def end(self, error: BoardError) -> None:
        """End every waiter with the error."""
        for waiters in self._by_topic.values():
            for waiter in waiters:
                if not waiter.met.done():
                    waiter.met.set_exception(error)
                    waiter.met.exception()  # retrieved here: the call may not await it

    def _index(self, waiter: Waiter) -> None:
        """Index a waiter by the contracts that it holds now."""
        if waiter.asking:
            self._asking.add(waiter)
        else:
            self._asking.discard(waiter)
        holds = waiter.holds()
        for contract in waiter.held - holds:
            _discard(self._by_contract, contract, waiter)
        for contract in holds - waiter.held:
            self._by_contract[contract].add(waiter)
        waiter.held = holds


def _discard(waiters: defaultdict[Any, set[Waiter]], key: object, waiter: Waiter) -> None:
    waiters[key].discard(waiter)
    if not waiters[key]:
        del waiters[key]


CONDITION = 2**10
"""Bytes of memory that a condition takes in addition to its texts."""


def weight_of(conditions: Sequence[Condition]) -> int:
    """Return the bytes of memory that these conditions take while a call waits for them."""
    return sum(CONDITION + sum(map(len, _texts(condition))) for condition in conditions)


def _texts(condition: Condition) -> tuple[str, ...]:
    match condition:
        case PhaseCondition():
            return (condition.phase_id,)
        case ContractCondition(producer, _, name, package):
            return producer or "", name or "", package or ""
        case FileCondition():
            return (condition.filepath,)


def _topic(condition: Condition) -> Topic:
    match condition:
        case PhaseCondition():
            return "phase", condition.phase_id
        case ContractCondition():
            shape = tuple(each for each in _FIELDS if getattr(condition, each) is not None)
            return shape, _values(shape)(condition)
        case FileCondition():
            return "file", condition.filepath


def _topics(event: Event, shapes: Iterable[Shape]) -> Iterator[Topic]:
    match event.record:
        case Phase() as phase:
            yield "phase", phase.phase_id
        case Contract() as contract:
            for shape in shapes:
                yield shape, _values(shape)(contract)
        case FileClaim() as claim:
            yield "file", claim.filepath


@cache
def _values(shape: Shape) -> Callable[[object], Any]:
    """Return a function that reads the fields of a shape from a condition or a contract."""
    return attrgetter(*shape)


def _has_higher_id(event: Event, known: Event | None) -> bool:
    """Return whether both are of contracts, and `known` is of the one with the lower id."""
    match event.record, known.record if known else None:
        case Contract() as contract, Contract() as first:
            return contract.id > first.id
        case _:
            return False
