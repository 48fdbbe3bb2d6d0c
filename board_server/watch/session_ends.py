"""SessionEnds: calls back when a session ends that was opened or renewed on this server."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from board_server.model import Change, Commit, Revised, Session
from board_server.watch.tasks import Tasks


class SessionEnds:
    """The sessions of one board that count against a limit, each with its callback."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._opened: set[str] = set()  # opened by a commit whose call has not returned yet
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._ended = False

    async def open(
        self, opening: Coroutine[Any, Any, Revised[Session]], at_end: Callable[[], None]
    ) -> Revised[Session]:
        """Await `opening` and return its result; call `at_end` once that session has ended.

        `at_end` is called at once if `opening` opened no session: it raised, or it repeated the
        outcome of an earlier call. If the caller is cancelled, all this happens nevertheless.
        """
        task = self._tasks.start(opening)
        task.add_done_callback(partial(self._register, at_end))
        return await asyncio.shield(task)

    def _register(
        self, at_end: Callable[[], None], opening: asyncio.Task[Revised[Session]]
    ) -> None:
        failed = opening.cancelled() or opening.exception() is not None
        session_id = "" if failed else opening.result().value.session_id
        if session_id in self._opened and not self._ended:
            self._opened.discard(session_id)
            self._callbacks[session_id] = at_end
        else:
            at_end()

    def renewed(self, session_id: str, count: Callable[[], Callable[[], None]]) -> None:
        """Count a session from before a restart: call what `count` returns once it has ended.

        Does nothing if the session is counted already. Call it as soon as the store has renewed
        the session, before the next await.
        """
        counted = session_id in self._callbacks or session_id in self._opened
        if not (counted or self._ended):
            self._callbacks[session_id] = count()

    def committed(self, commit: Commit) -> None:
        """Note which sessions a commit opened, and call back for those that it ended."""
        for event in commit.events:
            if not isinstance(event.record, Session):
                continue
            session_id = event.record.session_id
            if event.change is Change.SESSION_OPENED:
                self._opened.add(session_id)
            else:
                self._opened.discard(session_id)
                if at_end := self._callbacks.pop(session_id, None):
                    at_end()

    def end(self) -> None:
        """Call back for every session: no more commits will come."""
        self._ended = True
        for at_end in self._callbacks.values():
            at_end()
        self._callbacks.clear()
