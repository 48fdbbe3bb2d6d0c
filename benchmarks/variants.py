"""The board server with some parts changed, to measure the effect of each change.

`python -m benchmarks.variants slow-sync,commit-on-loop DIR ...`: the names of the changes,
then the arguments of `board serve`.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import apsw

from board_server.config.grpc_engine import Engine, choose

_chosen = sys.argv[1].split(",")
choose(Engine.POLLER if "poller" in _chosen else Engine.DEFAULT)  # before grpc is imported

from board_server.__main__ import app  # noqa: E402
from board_server.model import IdempotencyKey  # noqa: E402
from board_server.sqlite import open_board, writer  # noqa: E402
from board_server.watch import subscription  # noqa: E402
from board_server.watch.cache import Cache  # noqa: E402

SYNC = 0.005
"""Seconds that slow-sync adds to every sync, to simulate a busy disk."""


_SYSTEM = apsw.vfs_names()[0]


class _SlowSyncFile(apsw.VFSFile):
    def xSync(self, flags: int) -> None:  # noqa: N802  apsw's name
        time.sleep(SYNC)
        super().xSync(flags)


class _SlowSync(apsw.VFS):
    def __init__(self) -> None:
        super().__init__("slow-sync", base=_SYSTEM, makedefault=True)

    def xOpen(  # noqa: N802  apsw's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return _SlowSyncFile(_SYSTEM, name, flags)


class _CommitOnLoop(writer.Writer):
    """Commits each call by itself, on the event loop."""

    async def write(self, work: Callable[[Any], Any], key: IdempotencyKey | None = None) -> Any:
        call = writer._Call(work, key, self._loop.create_future())  # noqa: SLF001  changes the writer's internals
        self._answer([call], *self._group.run([call]))
        return await call.reply


def _commit_on_loop() -> None:
    open_board.Writer = _CommitOnLoop  # type: ignore[misc]


def _one_message_per_event() -> None:
    subscription.MAX_MESSAGE = 1


class _Forgets(dict[Any, Any]):
    """A dict that ignores assignments."""

    def __setitem__(self, key: object, value: object) -> None:
        pass


def _join_each_time() -> None:
    """Join lists and snapshots from the cache's encoded records for each call."""
    init = Cache.__init__

    def forgetful(self: Cache) -> None:
        init(self)
        self._replies, self._parts = _Forgets(), _Forgets()

    Cache.__init__ = forgetful  # type: ignore[method-assign]


CHANGES: dict[str, Callable[[], object]] = {
    "slow-sync": _SlowSync,
    "commit-on-loop": _commit_on_loop,
    "one-message-per-event": _one_message_per_event,
    "join-each-time": _join_each_time,
    "nothing": lambda: None,
    "poller": lambda: None,  # chosen above; `board serve` allows it on private listeners only
}

if __name__ == "__main__":
    changes = sys.argv.pop(1)
    kept = [CHANGES[name]() for name in changes.split(",")]  # a VFS lives as long as its object
    app(prog_name=f"board serve with {changes}")
