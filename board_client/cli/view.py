"""View: the board that `board top` shows, kept up to date by updates."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from board_client.cli.replica import Replica
from board_client.model import Event, Session, Snapshot

_MOST_EVENTS = 5000


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions that live, with their times of expiry."""

    alive: Sequence[Session]


class Lost:
    """The server did not answer."""


Update = Snapshot | Event | Sessions | Lost


class View:
    """A board, its latest events, and whether the server answers."""

    def __init__(self, name: str, snapshot: Snapshot, events: Sequence[Event] = ()) -> None:
        self.name = name
        self.connected = True
        self.events = deque(events, maxlen=_MOST_EVENTS)
        self.sessions: Sequence[Session] = snapshot.sessions
        self._replica = Replica(snapshot)

    def take(self, update: Update) -> None:
        """Apply an update."""
        self.connected = not isinstance(update, Lost)
        match update:
            case Snapshot():
                self._replica = Replica(update)
                self.sessions = update.sessions
            case Event():
                self._replica.apply(update)
                self.events.append(update)
            case Sessions(alive):
                self.sessions = alive

    def board(self) -> Snapshot:
        """Return the board with all updates applied."""
        return self._replica.snapshot()
