"""Cache: one board's records in memory, encoded, for the reads that want all of them.

To build a message of thousands of contracts takes longer than to read them, and
a board is listed far more often than it changes. A mirror is loaded once, page
by page, and from then on takes the records of each commit in place of its own.
What was joined of them is kept until they change, so that a list that is asked
for again costs neither an encoding nor a copy.
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
"""Records that are read in one go."""

MAX_REPLIES = 100
"""Pages that are kept joined, each of another place or size."""

MAX_UNREAD = 10_000
"""Events after which a mirror that nobody has read is not worth its memory."""

T = TypeVar("T")

_LISTED = responses.tag(pb.ListContractsResponse, "contracts")


class _Reply(NamedTuple):
    """A page as it is sent, of which the first `body` bytes do not tell the revision."""

    revision: int
    body: int
    encoded: bytes


class EncodedSnapshot(NamedTuple):
    """A snapshot in parts, at least one; each is to be sent with `head` behind it."""

    parts: list[bytes]
    head: bytes

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts))


class Cache:
    """The records of one board, true at the revision of the last commit it was told."""

    def __init__(self) -> None:
        self.loaded = False
        self.unread = 0
        """Events since it was last read; who reads it sets it back."""
        self.sessions: set[str] = set()
        """IDs of the sessions that live."""
        self.sessions_changed = 0
        """The last revision at which one was opened or ended."""
        self._phases = EncodedTable[Phase](
            lambda phase: (phase.posted_at, phase.phase_id), responses.entry
        )
        self._contracts = EncodedTable[Contract](lambda contract: contract.id, responses.entry)
        self._claims = EncodedTable[FileClaim](lambda claim: claim.filepath, responses.entry)
        self._true = True
        self._waiting: list[Commit] = []
        self._replies: dict[Hashable, _Reply] = {}
        self._replied = (0, 0)  # version of the contracts that the replies hold, and their bytes
        self._parts: dict[str, tuple[int, list[bytes]]] = {}

    @property
    def useful(self) -> bool:
        """Whether to keep it: it is true, and is read now and then."""
        return self._true and self.unread < MAX_UNREAD

    @property
    def weight(self) -> int:
        """Bytes of memory that it may take."""
        return self._phases.weight + self._contracts.weight + self._claims.weight

    @property
    def size(self) -> int:
        """Bytes of a snapshot, but for its sessions."""
        return self._phases.size + self._contracts.size + self._claims.size

    async def load(self, store: Store, board: str, room: int) -> bool:
        """Read the board; give up, with False, where that takes more than `room` bytes.

        Commits wait meanwhile. A page may hold the effect of some of these; to
        take them again, all and in order, ends in the same records. Raises what
        the store does.
        """
        where = ContractFilter()
        async for phases in _pages(lambda page: store.list_phases(board, (), page)):
            self._phases.put_all(phases)
        async for contracts in _pages(lambda page: store.list_contracts(board, where, page)):
            self._contracts.put_all(contracts)
            if self.weight > room:
                return False
        async for claims in _pages(lambda page: store.list_claims(board, None, page)):
            self._claims.put_all(claims)
        async for sessions in _pages(lambda page: store.list_sessions(board, page)):
            self.sessions.update(session.session_id for session in sessions)
        for commit in self._waiting:
            self._take(commit)
        self._waiting.clear()
        self.loaded = self._true
        return True

    def committed(self, commit: Commit) -> None:
        """Take in what a commit changed."""
        if self.loaded:
            self._take(commit)
        else:
            self._waiting.append(commit)

    def _take(self, commit: Commit) -> None:
        self.unread += len(commit.events)
        for event in commit.events:
            self._put(event, commit.revision)

    def _put(self, event: Event, revision: int) -> None:
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
            case _:  # whatever else may happen to a board: it is read anew
                self._true = False

    def list_contracts(self, listed: Listed, revision: int) -> bytes:
        """Return an encoded ListContractsResponse."""
        version, size = self._replied
        too_much = size > self._contracts.weight or len(self._replies) >= MAX_REPLIES
        if version != self._contracts.version or too_much:
            self._replies.clear()
            self._replied = (self._contracts.version, 0)
        place = listed.scope, listed.page
        reply = self._replies.get(place)
        if reply is None:
            after = listed.page.after[0] if listed.page.after else None
            body, last = self._contracts.page(_LISTED, after, listed.page.size)
            token = listed.token(None if last is None else (last,))
            body += pb.ListContractsResponse(next_page_token=token).SerializeToString()
            self._replied = (self._replied[0], self._replied[1] + len(body))
        elif reply.revision == revision:
            return reply.encoded
        else:
            body = reply.encoded[: reply.body]
        encoded = body + pb.ListContractsResponse(revision=revision).SerializeToString()
        self._replies[place] = _Reply(revision, len(body), encoded)
        return encoded

    def snapshot(
        self, board_id: str, revision: int, sessions: Sequence[Session]
    ) -> "EncodedSnapshot":
        """Return the whole board; its records are shared by all snapshots until they change."""
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
    """Read a list to its end, a little at a time."""
    request: PageRequest | None = PageRequest(LOADED_AT_ONCE)
    while request:
        page = await read(request)
        yield page.items
        request = PageRequest(LOADED_AT_ONCE, page.next) if page.next else None
