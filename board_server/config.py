"""Config: all that a server can be told, checked before anything starts."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from board_server.model import is_board_name

DEFAULT_LISTEN = "127.0.0.1:7447"


class BadConfig(ValueError):
    """A setting that the server cannot run with. Its text says which and why."""


@dataclass(frozen=True, slots=True)
class Config:
    """How to serve one directory of boards. Raises BadConfig on what cannot be meant.

    `board` is the default board, "" to name it after the directory; `listen`
    holds addresses `HOST:PORT` (port 0 picks one) or `unix:PATH`; `grace` is how
    many seconds calls in flight may take once the server is told to stop.
    """

    directory: Path
    board: str = ""
    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    insecure: bool = False
    grace: float = field(default=10.0)

    def __post_init__(self) -> None:
        if not is_board_name(self.default_board):
            raise BadConfig(
                f'"{self.default_board}" cannot name a board (letters, digits, ".", "_" and "-", '
                "at most 128, the first a letter or digit); give a name with --board"
            )
        for address in self.listen:
            if not (self.insecure or is_private(address)):
                raise BadConfig(
                    f"{address} can be reached from other machines, and calls are not encrypted; "
                    "listen on a loopback address or a Unix socket, or say --insecure"
                )

    @property
    def default_board(self) -> str:
        """The board of the requests that name none."""
        return self.board or self.directory.resolve().name


def is_private(address: str) -> bool:
    """Tell whether only this machine can reach the address. Raises BadConfig if it is none."""
    if address.startswith("unix:"):
        return True
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  the last port
        raise BadConfig(f'cannot listen on "{address}": it is neither HOST:PORT nor unix:PATH')
    host = host.strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
