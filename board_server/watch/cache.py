"""Cache: one board's records in memory, encoded, for reads of the whole board.

Encoding thousands of contracts takes longer than reading them, and a board is read far more
often than it changes. A cache is loaded once, page by page; then each commit replaces the
records that it changed. Joined lists are kept until a record in them changes, so repeating a
list neither encodes nor copies anything.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

from board_client.v1 import board_pb2 as pb
from board_server.model import (
    Change,
    Commit,
    Contract,
    ContractFilter,
    Event,
    FileClaim,
    Page,
    PageRequest,
    Phase,
    Session,
)
from board_server.store import Store
from board_server.watch.encoded_table import EncodedTable
from board_server.wire import responses
from board_server.wire.lists import Listed

LOADED_AT_ONCE = 500
"""Records in a page while the cache is loaded."""

MAX_REPLIES = 100
"""Joined pages of ListContracts that are kept."""

MAX_UNREAD = 10_000
"""Events after which a cache that nobody has read is dropped."""

T = TypeVar("T")

_LISTED = responses.tag(pb.ListContractsResponse, "contracts")


class _Reply(NamedTuple):
    """An encoded page. Its first `body` bytes do not depend on the revision."""

    revision: int
    body: int
    encoded: bytes


class EncodedSnapshot(NamedTuple):
    """A snapshot in parts, at least one. Append `head` to each part before sending it."""

    parts: list[bytes]
    head: bytes

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts))


class Cache:
    """The records of one board, at the revision of the last commit received."""

    def __init__(self) -> None:
        self.loaded = False
        """Whether the cache can be read."""
        self.unread = 0
        """Events since the last read; each reader sets it to 0."""
        self.sessions: set[str] = set()
        """IDs of the open sessions."""
        self.sessions_changed = 0
        """The last revision at which a session was opened or ended."""
        self._phases = EncodedTable[Phase](
            lambda phase: (phase.posted_at, phase.phase_id), responses.entry
        )
        self._contracts = EncodedTable[Contract](lambda contract: contract.id, responses.entry)
        self._claims = EncodedTable[FileClaim](lambda claim: claim.filepath, responses.entry)
        self._valid = True
        self._waiting: list[Commit] = []  # received while loading
        self._replies: dict[Hashable, _Reply] = {}
        self._replies_version = 0  # the version of the contracts in the replies
        self._replies_size = 0
        self._parts: dict[str, tuple[int, list[bytes]]] = {}  # with the version of the table

    @property
    def useful(self) -> bool:
        """Whether to keep the cache: it is valid, and it has been read recently."""
        return self._valid and self.unread < MAX_UNREAD

    @property
    def weight(self) -> int:
        """Bytes of memory that the cache may take."""
        return self._phases.weight + self._contracts.weight + self._claims.weight

    @property
    def size(self) -> int:
        """Bytes of a snapshot without its sessions."""
        return self._phases.size + self._contracts.size + self._claims.size

    async def load(self, store: Store, board: str, room: int) -> bool:
        """Read the board. Returns False if that takes more than `room` bytes of memory.

        Commits received meanwhile are applied at the end. A page may already show some of them;
        applying all of them again, in order, gives the same records. Raises what the store does.
        """
        everything = ContractFilter()
        async for phases in _pages(lambda page: store.list_phases(board, (), page)):
            self._phases.put_all(phases)
        async for contracts in _pages(lambda page: store.list_contracts(board, everything, page)):
            self._contracts.put_all(contracts)
            if self.weight > room:
                return False
        async for claims in _pages(lambda page: store.list_claims(board, None, page)):
            self._claims.put_all(claims)
        async for sessions in _pages(lambda page: store.list_sessions(board, page)):
            self.sessions.update(session.session_id for session in sessions)
        for commit in self._waiting:
            self._apply(commit)
        self._waiting.clear()
        self.loaded = self._valid
        return True

    def committed(self, commit: Commit) -> None:
        """Apply a commit, after loading if the cache is being loaded."""
        if self.loaded:
            self._apply(commit)
        else:
            self._waiting.append(commit)

    def _apply(self, commit: Commit) -> None:
        self.unread += len(commit.events)
        for event in commit.events:
            self._apply_event(event, commit.revision)

    def _apply_event(self, event: Event, revision: int) -> None:
        match event.change, event.record:
            case Change.PHASE, Phase() as phase:
                self._phases.put(phase)
            case Change.CONTRACT, Contract() as contract:
                self._contracts.put(contract)
            case Change.CLAIMED, FileClaim() as claim:
                self._claims.put(claim)
            case Change.RELEASED, FileClaim() as claim:
                self._claims.remove(claim)
            case Change.SESSION_OPENED, Session() as session:
                self.sessions.add(session.session_id)
                self.sessions_changed = revision
            case Change.SESSION_ENDED, Session() as session:
                self.sessions.discard(session.session_id)
                self.sessions_changed = revision
            case _:  # any other change: the board is loaded again
                self._valid = False

    def list_contracts(self, listed: Listed, revision: int) -> bytes:
        """Return an encoded ListContractsResponse."""
        too_much = self._replies_size > self._contracts.weight or len(self._replies) >= MAX_REPLIES
        if self._replies_version != self._contracts.version or too_much:
            self._replies.clear()
            self._replies_version = self._contracts.version
            self._replies_size = 0
        place = listed.scope, listed.page
        reply = self._replies.get(place)
        if reply is None:
            after = listed.page.after[0] if listed.page.after else None
            body, last = self._contracts.page(_LISTED, after, listed.page.size)
            token = listed.token(None if last is None else (last,))
            body += pb.ListContractsResponse(next_page_token=token).SerializeToString()
            self._replies_size += len(body)
        elif reply.revision == revision:
            return reply.encoded
        else:
            body = reply.encoded[: reply.body]
        encoded = body + pb.ListContractsResponse(revision=revision).SerializeToString()
        self._replies[place] = _Reply(revision, len(body), encoded)
        return encoded

    def snapshot(
        self, board_id: str, revision: int, sessions: Sequence[Session]
    ) -> EncodedSnapshot:
        """Return the whole board. Snapshots share the joined records until these change."""
        tables: dict[str, EncodedTable[Any]] = {
            "phases": self._phases,
            "contracts": self._contracts,
            "claims": self._claims,
        }
        parts = [part for field, table in tables.items() for part in self._joined(field, table)]
        last = pb.GetSnapshotResponse(sessions=map(responses.session, sessions))
        head = pb.GetSnapshotResponse(revision=revision, board_id=board_id).SerializeToString()
        if sessions or not parts:
            parts.append(last.SerializeToString())
        return EncodedSnapshot(parts, head)

    def _joined(self, field: str, table: EncodedTable[Any]) -> list[bytes]:
        version, parts = self._parts.get(field, (-1, []))
        if version != table.version:
            parts = list(table.parts(responses.tag(pb.GetSnapshotResponse, field)))
            self._parts[field] = table.version, parts
        return parts


async def _pages(read: Callable[[PageRequest], Awaitable[Page[T]]]) -> AsyncIterator[list[T]]:
    """Read a list page by page."""
    request: PageRequest | None = PageRequest(LOADED_AT_ONCE)
    while request:
        page = await read(request)
        yield page.items
        request = PageRequest(LOADED_AT_ONCE, page.next) if page.next else None
