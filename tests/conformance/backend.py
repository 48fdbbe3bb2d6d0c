"""The interface between a backend and the suite, and what the suite's parts share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from board_server.errors import BoardError
from board_server.model import (
    Commit,
    Completion,
    ContractDraft,
    ContractFilter,
    ContractKind,
    FileCondition,
    IdempotencyKey,
    OnExpiry,
    Page,
    PageRequest,
    PhaseChange,
    PhaseState,
)
from board_server.store import Store

ALL = PageRequest(10_000)
BOARD = "nebula"

ListPage = Callable[[PageRequest], Awaitable[Page[Any]]]
Reopen = Callable[[], Awaitable[Store]]
OpenStore = Callable[[], Store]


class Clock:
    """A clock that the test sets. Each reading advances it by `step`."""

    def __init__(self) -> None:
        self.now = datetime(2026, 2, 23, 5, 3, 45, tzinfo=UTC)
        self.step = timedelta(milliseconds=1)

    def __call__(self) -> datetime:
        self.now += self.step
        return self.now


class Conformance:
    """The fixtures of the suite.

    A backend subclasses this and overrides `open_store`: a function that opens the
    store of the test, with its `clock`. Each call opens the same data.
    """

    @pytest.fixture
    def open_store(self, clock: Clock) -> OpenStore:
        raise NotImplementedError("a backend overrides this fixture")

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def stores(self, open_store) -> AsyncIterator[list[Store]]:
        stores = [open_store()]
        yield stores
        for store in stores:
            await store.close()

    @pytest.fixture
    async def store(self, stores) -> Store:
        """A store with one open board, BOARD."""
        await stores[0].open_board(BOARD)
        return stores[0]

    @pytest.fixture
    def reopen(self, stores, open_store) -> Reopen:
        """Close the store and open its data again, as a restart of the server does."""

        async def again() -> Store:
            await stores[-1].close()
            stores.append(open_store())
            return stores[-1]

        return again


async def pages(list_page: ListPage, size: int) -> list[Page[Any]]:
    """Read a list to its end, `size` items at a time."""
    read = [await list_page(PageRequest(size))]
    while read[-1].next is not None:
        read.append(await list_page(PageRequest(size, read[-1].next)))
    return read


async def items(list_page: ListPage, size: int = 10_000) -> list[Any]:
    """Read the items of all pages."""
    return [item for page in await pages(list_page, size) for item in page.items]


async def revision_of(store: Store, board: str = BOARD) -> int:
    return (await store.open_board(board)).revision


async def contents(store: Store, board: str = BOARD) -> tuple[Any, ...]:
    """Read all records of a board, and its revision."""
    return (
        await revision_of(store, board),
        await items(lambda page: store.list_phases(board, [], page)),
        await items(lambda page: store.list_contracts(board, ContractFilter(), page)),
        await items(lambda page: store.list_claims(board, None, page)),
    )


def draft(name: str, producer: str = "store", **fields: Any) -> ContractDraft:
    """Make a contract, with arbitrary values for the other fields."""
    fields = {"kind": ContractKind.FUNCTION, "signature": "func()", "package": "board"} | fields
    return ContractDraft(producer, name=name, **fields)


async def fill(store: Store, board: str = BOARD) -> None:
    """Put records of every kind on a board."""
    await store.set_phase_state(board, PhaseChange("store", PhaseState.RUNNING, "w1"))
    await store.publish_contracts(board, [draft("Open"), draft("Close")])
    await store.claim_file(board, "board.go", "store")


def key_of(id_: str, method: str = "Write", payload: bytes = b"") -> IdempotencyKey:
    """Make an idempotency key, with arbitrary values for the other fields."""
    return IdempotencyKey(id_, method, payload)


class Deaf:
    """A follower that ignores all commits."""

    needed = True

    def committed(self, commit: Commit) -> None: ...

    def ended(self, error: BoardError) -> None: ...


Call = Callable[[Store, str], Awaitable[Any]]

WRITES: dict[str, Call] = {
    "set_phase_state": lambda s, b: s.set_phase_state(b, PhaseChange("new", PhaseState.QUEUED)),
    "publish_contract": lambda s, b: s.publish_contract(b, draft("New")),
    "publish_contracts": lambda s, b: s.publish_contracts(b, [draft("New"), draft("Newer")]),
    "claim_file": lambda s, b: s.claim_file(b, "new.go", "store"),
    "claim_files": lambda s, b: s.claim_files(b, ["new.go", "newer.go"], "store"),
    "release_claims": lambda s, b: s.release_claims(b, "store", []),
    "complete_phase": lambda s, b: s.complete_phase(
        b, Completion("store", PhaseState.DONE, [draft("Newest")])
    ),
    "open_session": lambda s, b: s.open_session(b, "w1", timedelta(hours=1), OnExpiry.FAIL),
}
"""One call of each method that writes; each changes a board that `fill` has filled."""

READS: dict[str, Call] = {
    "get_phase_state": lambda s, b: s.get_phase_state(b, "store"),
    "list_phases": lambda s, b: s.list_phases(b, [], ALL),
    "list_contracts": lambda s, b: s.list_contracts(b, ContractFilter(), ALL),
    "get_file_owner": lambda s, b: s.get_file_owner(b, "board.go"),
    "list_claims": lambda s, b: s.list_claims(b, None, ALL),
    "get_snapshot": lambda s, b: s.get_snapshot(b),
    "find": lambda s, b: s.find(b, [FileCondition("board.go")]),
    "list_sessions": lambda s, b: s.list_sessions(b, ALL),
    "list_events": lambda s, b: s.list_events(b, 0, 3),
    "follow": lambda s, b: s.follow(b, Deaf()),
}
"""One call of each method that reads a board."""

CALLS = WRITES | READS


def each(calls: dict[str, Call]) -> pytest.MarkDecorator:
    """Run the test once for each of the calls, as its argument `call`."""
    return pytest.mark.parametrize("call", calls.values(), ids=calls.keys())
