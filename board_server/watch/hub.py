"""Hub: follows one board's commits and hands them to subscriptions, waiters and the watch cache."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol

from board_server.call_context import Holding
from board_server.errors import (
    BoardError,
    BoardReplaced,
    InvalidArgument,
    ShuttingDown,
    StoreUnavailable,
    Violation,
)
from board_server.model import BoardInfo, Commit, Condition, Evidence, Following, Revised, Session
from board_server.store import Store
from board_server.watch.encoded_commit import EncodedCommit
from board_server.watch.session_ends import SessionEnds
from board_server.watch.subscription import Send, Subscription
from board_server.watch.tasks import Tasks
from board_server.watch.waiters import Waiters
from board_server.wire.requests import Watched

TRIES = 3
"""Times that a read starts again because another board has replaced its board."""


class Listener(Protocol):
    """Receives a hub's commits. Called on the event loop; must not block."""

    def committed(self, commit: Commit) -> None:
        """Process the next commit."""

    def ended(self) -> None:
        """No more commits will come."""


class Hubs:
    """The hubs of a store's boards, each made when it is first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hubs: dict[str, Hub] = {}
        self._tasks = Tasks()
        self._shut_down = False

    async def of(self, board: str) -> "Hub":
        """Return the board's hub. Raises what Store.follow does."""
        if self._shut_down:
            raise ShuttingDown
        hub = self._hubs.get(board)
        if hub is None:
            hub = self._hubs[board] = Hub(self._store, board, self._tasks, self._forget)
        await hub.started()
        return hub

    async def caught_up(self, board: str) -> "Hub":
        """Return the board's hub once it has received every commit that the store shows now.

        Raises StoreUnavailable if the board is replaced again and again meanwhile.
        """
        for _ in range(TRIES):  # bounded: an iteration may complete without yielding to the loop
            info = await self._store.get_board(board)
            hub = await self.of(board)
            if hub.board_id == info.board_id:
                await hub.reached(info.revision)
                return hub
        raise StoreUnavailable(f'board "{board}" was replaced while it was read; retry')

    def following(self) -> list[Following]:
        """Return how many watch and wait on each board, and how far they are behind."""
        return [hub.following() for hub in self._hubs.values()]

    def shutdown(self) -> None:
        """Refuse further calls, and end every subscription and waiter with ShuttingDown."""
        self._shut_down = True
        for hub in list(self._hubs.values()):
            hub.ended(ShuttingDown())

    async def close(self) -> None:
        """Cancel and await all tasks; call it once the calls that use the hubs have ended."""
        await self._tasks.close()

    def _forget(self, hub: "Hub") -> None:
        if self._hubs.get(hub.board) is hub:
            del self._hubs[hub.board]


class Hub:
    """One board's commits; a Follower of the store."""

    def __init__(
        self, store: Store, board: str, tasks: Tasks, forget: Callable[["Hub"], None]
    ) -> None:
        """Make a hub whose tasks are owned by `tasks`.

        It calls `forget` if it cannot follow the board, and once no more commits will come.
        """
        self.board = board
        self.board_id = ""
        self.revision = 0
        """The revision of the last commit received."""
        self._store = store
        self._tasks = tasks
        self._forget = forget
        self._starting: asyncio.Task[BoardInfo] | None = None
        self._reached: list[tuple[int, asyncio.Future[None]]] = []
        self._subscriptions: dict[Subscription, None] = {}
        self._waiters = Waiters()
        self._sessions = SessionEnds(tasks)
        self._listeners: list[Listener] = []
        self._error: BoardError | None = None

    @property
    def over(self) -> bool:
        """Whether no more commits will come."""
        return self._error is not None

    @property
    def needed(self) -> bool:
        """Whether any call watches or waits."""
        return bool(self._subscriptions or self._waiters or self._reached)

    async def started(self) -> None:
        """Return once the hub follows the store. The first call starts that."""
        if self._starting is None:
            self._starting = self._tasks.start(self._store.follow(self.board, self))
            self._starting.add_done_callback(self._forget_if_failed)
        info = await asyncio.shield(self._starting)
        if not self.board_id:
            self.board_id = info.board_id
            self.revision = max(self.revision, info.revision)

    def _forget_if_failed(self, starting: asyncio.Task[BoardInfo]) -> None:
        """If start-up failed, forget this hub so that the next caller retries."""
        if starting.cancelled() or starting.exception():
            self._forget(self)

    def listen(self, listener: Listener) -> None:
        """Pass every commit from now on to `listener`. Raises the error if the hub has ended."""
        if self._error:
            raise self._error
        self._listeners.append(listener)

    def committed(self, commit: Commit) -> None:
        """Hand a commit to all that watch, wait or listen."""
        if commit.revision <= self.revision:
            return
        self.revision = commit.revision
        if self._subscriptions:
            encoded = EncodedCommit(commit)
            for subscription in self._subscriptions:
                subscription.offer(encoded)
        self._sessions.committed(commit)
        self._waiters.committed(commit)
        for listener in self._listeners:
            listener.committed(commit)
        for revision, reached in self._reached:
            if revision <= self.revision and not reached.done():
                reached.set_result(None)

    def ended(self, error: BoardError) -> None:
        """End every subscription and waiter with the error."""
        if self._error:
            return
        self._error = error
        self._forget(self)
        for subscription in self._subscriptions:
            subscription.end(error)
        self._waiters.end(error)
        self._sessions.end()
        for listener in self._listeners:
            listener.ended()
        self._listeners.clear()
        for _, reached in self._reached:
            if not reached.done():
                reached.set_exception(error)
                reached.exception()  # retrieved here: the caller may have been cancelled

    async def reached(self, revision: int) -> None:
        """Return once this hub has received the commit of a revision that the store has made."""
        if self.revision >= revision:
            return
        if self._error:
            raise self._error
        waiting = revision, asyncio.get_running_loop().create_future()
        self._reached.append(waiting)
        try:
            await waiting[1]
        finally:
            self._reached.remove(waiting)

    def following(self) -> Following:
        """Return how many watch and wait on this board, and how far they are behind."""
        watchers = self._subscriptions
        return Following(
            board=self.board,
            watchers=len(watchers),
            waiters=len(self._waiters),
            revisions_behind=max((self.revision - each.sent for each in watchers), default=0),
            bytes_behind=max((each.size for each in watchers), default=0),
        )

    async def open_session(
        self, opening: Coroutine[Any, Any, Revised[Session]], at_end: Callable[[], None]
    ) -> Revised[Session]:
        """Await `opening` and return its result; see SessionEnds.open."""
        return await self._sessions.open(opening, at_end)

    def session_renewed(self, session_id: str, count: Callable[[], Callable[[], None]]) -> None:
        """Count a session that was renewed, unless it is counted; see SessionEnds.renewed."""
        self._sessions.renewed(session_id, count)

    async def watch(self, asked: Watched, send: Send, holding: Holding) -> NoReturn:
        """Send a Watch call its messages until it is cancelled, or raise the error that ends it.

        `holding` counts the bytes that the client has not read.
        """
        if asked.board_id and asked.board_id != self.board_id:
            raise BoardReplaced(self.board_id)
        if asked.after is not None:
            await self._refuse_later_revision(asked.after)
        if self._error:
            raise self._error
        after = self.revision if asked.after is None else asked.after
        list_events = partial(self._store.list_events, self.board)
        subscription = Subscription(asked.kinds, after, self.revision, list_events, send, holding)
        self._subscriptions[subscription] = None
        try:
            await subscription.run(self.board_id)
        finally:
            del self._subscriptions[subscription]

    async def _refuse_later_revision(self, after: int) -> None:
        if after <= self.revision:
            return
        # A reader may have seen a commit that has not arrived here yet: ask the store.
        _, revision = await self._store.find(self.board, [])
        if after > revision:
            what = f"must not be after the board's revision, {revision}"
            raise InvalidArgument([Violation("after_revision", what)])

    async def wait_for(self, conditions: Sequence[Condition]) -> Revised[list[Evidence]]:
        """Return what meets the conditions as soon as all are met at one revision."""
        distinct = tuple(dict.fromkeys(conditions))  # equal ones are looked up once
        met = None
        with self._waiters.add(distinct) as waiter:
            while met is None:
                found = await self._store.find(self.board, distinct)
                if self._error:
                    raise self._error
                self._waiters.begin(waiter, found)
                met = await waiter.met
        evidence = dict(zip(distinct, met.value, strict=True))
        return Revised([evidence[condition] for condition in conditions], met.revision)
