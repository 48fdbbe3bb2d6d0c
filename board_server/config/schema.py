"""Config: all that a server can be told, checked before anything starts.

Each field is at once a flag of `board serve`, an environment variable and a key
of its TOML file; `settings` reads them.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote

from board_server.config.grpc_engine import Engine
from board_server.model import is_board_name

DEFAULT_LISTEN = "127.0.0.1:7447"

MOST = 2**31 - 1
"""The largest number that grpc takes."""

MOST_SECONDS = 10**6

LEAST_SECONDS = {"grace": 0, "keepalive": 0.001}
"""grpc counts a silence in whole milliseconds, and 0 of them is none."""

FILES_OF_A_BOARD = 8
"""Its lock, and what three connections of SQLite's open: 7 as counted, and one to spare."""

FILES_BESIDE = 200


class BadConfig(ValueError):
    """A setting that the server cannot run with. Its text says which and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the certificate chain, its key, and the CA of the clients are, all PEM."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them that there are."""
        return [self.cert, self.key, *([self.client_ca] if self.client_ca else [])]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that may be: `calls` and `held_in_all` in all, the rest for each caller.

    `request`, `unread`, `held` and `held_in_all` are bytes. `boards` is how many boards a
    caller's watches, waits and sessions may keep open, besides the default. A caller is a
    token, or the host where a server asks for none.
    """

    calls: int
    calls_of_one: int
    watches: int
    waiters: int
    snapshots: int
    sessions: int
    request: int
    unread: int
    held: int
    held_in_all: int
    boards: int


class Told(NamedTuple):
    """What `--help` tells of a setting, and how it calls the value."""

    help: str
    metavar: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """How to serve one directory of boards. Raises BadConfig on what cannot be meant."""

    directory: Annotated[Path, Told("Directory of the board files; made if absent.", "DIR")] = Path(
        "boards"
    )
    board: Annotated[str, Told("Default board; named after DIR if not given.", "NAME")] = ""
    listen: Annotated[
        tuple[str, ...],
        Told("HOST:PORT (port 0 picks one) or unix:PATH; may be given several times.", "ADDR"),
    ] = (DEFAULT_LISTEN,)
    insecure: Annotated[
        bool, Told("Allow addresses that other machines can reach, without encryption.")
    ] = False
    grace: Annotated[float, Told("How long calls may take after SIGTERM.", "SECONDS")] = 10.0
    tls_cert: Annotated[
        Path | None,
        Told("Certificate chain, PEM: encrypts every HOST:PORT. Reread when it changes.", "FILE"),
    ] = None
    tls_key: Annotated[Path | None, Told("Key of the certificate, PEM.", "FILE")] = None
    client_ca: Annotated[
        Path | None,
        Told("CA that must have signed the clients' certificates, PEM (mutual TLS).", "FILE"),
    ] = None
    tokens: Annotated[
        Path | None,
        Told("File of tokens, made by `board token`: who may do what. Reread too.", "FILE"),
    ] = None
    metrics_listen: Annotated[
        str, Told("Serve Prometheus metrics over HTTP on HOST:PORT.", "ADDR")
    ] = ""
    log_format: Annotated[
        Literal["console", "json"], Told("Log for people or for programs.", "console|json")
    ] = "console"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Told("Least level to log; debug has a line for every call.", "debug|info|warning|error"),
    ] = "info"
    synchronous: Annotated[
        Literal["full", "normal"],
        Told(
            "When a write is on disk. normal is faster, and a power failure (not a "
            "crash) may then lose the last writes that were acknowledged.",
            "full|normal",
        ),
    ] = "full"
    keep_revisions: Annotated[int, Told("How many revisions a watcher can go back.", "N")] = 100_000
    keep_bytes: Annotated[
        int,
        Told(
            "Most bytes of events kept for that, for each board; half as many are for "
            "remembered replies.",
            "BYTES",
        ),
    ] = 256 * 2**20
    engine: Annotated[
        Engine,
        Told(
            "gRPC's I/O: default in threads of its own; poller in one thread, a little faster, "
            "and only where every listener is a Unix socket or has --client-ca.",
            "default|poller",
        ),
    ] = Engine.DEFAULT
    keepalive: Annotated[
        float,
        Told("Silence after which a client is asked for a sign of life; none: dropped.", "SECONDS"),
    ] = 30.0
    max_request: Annotated[int, Told("Largest request.", "BYTES")] = 40 * 2**20
    max_connections: Annotated[int, Told("Connections to each address.", "N")] = 2_000
    max_calls: Annotated[
        int, Told("Calls at once in all, watches and waiters among them.", "N")
    ] = 50_000
    max_calls_per_connection: Annotated[
        int, Told("Calls at once on one connection; its client keeps more in line.", "N")
    ] = 250
    max_watches: Annotated[int, Told("Watches of one token, or of one host.", "N")] = 1_000
    max_waiters: Annotated[int, Told("Calls of WaitFor of one token, or of one host.", "N")] = (
        20_000
    )
    max_snapshots: Annotated[
        int, Told("Snapshots that one token, or one host, reads at once.", "N")
    ] = 64
    max_unread: Annotated[
        int, Told("Bytes of replies that one token, or one host, has still to read.", "BYTES")
    ] = 256 * 2**20
    max_held: Annotated[
        int, Told("Bytes of requests and waits that one token, or one host, has going.", "BYTES")
    ] = 256 * 2**20
    max_held_in_all: Annotated[
        int, Told("Bytes of requests, waits and unread replies of all together.", "BYTES")
    ] = 2**30
    max_sessions: Annotated[int, Told("Sessions that one token, or one host, has.", "N")] = 10_000
    max_queue: Annotated[int, Told("Writes that wait for one board's writer.", "N")] = 10_000
    max_boards: Annotated[
        int, Told("Boards open at once; for one more, one that nobody uses is closed.", "N")
    ] = 256

    def __post_init__(self) -> None:
        self._check_board()
        self._check_files()
        self._check_addresses()
        self._check_numbers()
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                known = " or ".join(words)
                raise BadConfig(f'{flag(name)} must be {known}, not "{getattr(self, name)}"')

    def _check_board(self) -> None:
        if not is_board_name(self.default_board):
            raise BadConfig(
                f'"{self.default_board}" cannot name a board (letters, digits, ".", "_" and "-", '
                "at most 128, the first a letter or digit); give a name with --board"
            )

    def _check_files(self) -> None:
        if not self.listen:
            raise BadConfig("--listen needs an address")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise BadConfig("--tls-cert and --tls-key go together")
        if self.client_ca and not self.tls_cert:
            raise BadConfig("--client-ca needs --tls-cert and --tls-key")

    def _check_addresses(self) -> None:
        for address in self.listen:
            if address.startswith("unix:"):
                _check_socket(address)
            elif not _is_port(address):
                raise BadConfig(
                    f'cannot listen on "{address}": it is neither HOST:PORT nor unix:PATH'
                )
        if self.metrics_listen and not _is_port(self.metrics_listen):
            raise BadConfig(f'--metrics-listen must be HOST:PORT, not "{self.metrics_listen}"')
        self._check_engine()
        if self.exposed and not self.insecure:
            raise BadConfig(
                f"{self.exposed[0]} can be reached from other machines, and is not encrypted; "
                "listen on a loopback address or a Unix socket, give --tls-cert (which does not "
                "cover the metrics), or say --insecure"
            )

    def _check_engine(self) -> None:
        """Refuse the poller where strangers can connect: one of them could stop all traffic."""
        if self.engine is not Engine.POLLER or self.client_ca:
            return
        for address in self.listen:
            if not address.startswith("unix:"):
                raise BadConfig(
                    f"--engine poller cannot serve {address}: one connection that floods it stops "
                    "all others; use --engine default, listen on Unix sockets alone, or ask for "
                    "client certificates with --client-ca"
                )

    def _check_numbers(self) -> None:
        for name, least in LEAST_SECONDS.items():
            value = getattr(self, name)
            if not least <= value <= MOST_SECONDS:
                raise BadConfig(
                    f"{flag(name)} must be {least} to {MOST_SECONDS} seconds, not {value:g}"
                )
        for name in _COUNTS:
            least = _LEAST.get(name, 1)
            if not least <= getattr(self, name) <= MOST:
                raise BadConfig(
                    f"{flag(name)} must be {least} to {MOST}, not {getattr(self, name)}"
                )

    @property
    def default_board(self) -> str:
        """The board of the requests that name none."""
        return self.board or self.directory.resolve().name

    @property
    def tls(self) -> TlsFiles | None:
        """The files of the server's certificate; None for a server without."""
        if self.tls_cert and self.tls_key:
            return TlsFiles(self.tls_cert, self.tls_key, self.client_ca)
        return None

    @property
    def limits(self) -> Limits:
        """How much may go on at once."""
        return Limits(
            calls=self.max_calls,
            calls_of_one=max(1, self.max_calls // 2),
            watches=self.max_watches,
            waiters=self.max_waiters,
            snapshots=self.max_snapshots,
            sessions=self.max_sessions,
            request=self.max_request,
            unread=self.max_unread,
            held=self.max_held,
            held_in_all=self.max_held_in_all,
            boards=max(1, self.max_boards // 4),
        )

    @property
    def files(self) -> int:
        """Files that may be open at once, sockets among them."""
        connections = self.max_connections * len(self.listen)
        return connections + FILES_OF_A_BOARD * self.max_boards + FILES_BESIDE

    @property
    def exposed(self) -> list[str]:
        """The addresses at which others can listen in: reachable, and not encrypted."""
        plain = [] if self.tls_cert else list(self.listen)
        plain += [self.metrics_listen] if self.metrics_listen else []
        return [address for address in plain if not is_private(address)]

    @property
    def open_to_all(self) -> list[str]:
        """The addresses at which other machines can do everything, asked for nothing."""
        if self.tokens or self.client_ca:
            return []
        return [address for address in self.listen if not is_private(address)]


_COUNTS = (
    "keep_revisions",
    "keep_bytes",
    "max_request",
    "max_connections",
    "max_calls",
    "max_calls_per_connection",
    "max_watches",
    "max_waiters",
    "max_snapshots",
    "max_unread",
    "max_held",
    "max_held_in_all",
    "max_sessions",
    "max_queue",
    "max_boards",
)

_LEAST = {"keep_bytes": 2**20}
"""With less, a call could be forgotten before it is sent again."""

_WORDS = {
    "log_format": ("console", "json"),
    "log_level": ("debug", "info", "warning", "error"),
    "synchronous": ("full", "normal"),
}


def flag(name: str) -> str:
    """Return a field's name as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def _check_socket(address: str) -> None:
    """Refuse what is no path of a file, or not the path that a client of grpc would read."""
    given = address.removeprefix("unix:")
    path = unquote(given)  # as grpc reads it
    if not path:
        raise BadConfig(f'cannot listen on "{address}": the path is empty (an unset variable?)')
    if "\0" in path:
        # An abstract socket, which has no owner and no mode.
        raise BadConfig(f"cannot listen on {address!r}: the path has a NUL in it, so is no file")
    if given.startswith("//") and not given.startswith("///"):
        raise BadConfig(f'cannot listen on "{address}": a socket has no host; say unix:/{path[2:]}')
    if "?" in given or "#" in given:
        raise BadConfig(f'cannot listen on "{address}": write %3F for "?" and %23 for "#"')


_HOST_PORT = re.compile(r"(?P<host>\[[^][]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")

_NO_HOSTS = {"unix", "unix-abstract", "vsock"}
"""Schemes of grpc for other kinds of sockets, to which --insecure does not apply."""


def _is_port(address: str) -> bool:
    """Return whether it is HOST:PORT: HOST a name, an IPv4 or a bracketed IPv6 address."""
    found = _HOST_PORT.fullmatch(address)
    if not found or int(found["port"]) > 65535 or found["host"].lower() in _NO_HOSTS:  # noqa: PLR2004
        return False
    if not found["host"].startswith("["):
        return True
    try:
        ipaddress.IPv6Address(found["host"].strip("[]"))
    except ValueError:
        return False
    return True


def is_private(address: str) -> bool:
    """Tell whether only this machine can reach `HOST:PORT` or `unix:PATH`."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
