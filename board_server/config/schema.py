"""Config: the settings of a server, checked before anything starts.

Each field is a flag of `board serve`, an environment variable and a key of its TOML file;
`sources` reads them.
"""

import ipaddress
import re
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import unquote

from board_server.config.grpc_engine import Engine
from board_server.model import is_board_name

DEFAULT_LISTEN = "127.0.0.1:7447"

MAX_COUNT = 2**31 - 1
"""The largest number that grpc takes."""

MAX_SECONDS = 10**6

FILES_PER_BOARD = 8
"""Files that an open board needs: its lock, those of three connections of SQLite, and a spare."""

OTHER_FILES = 200
"""Files that the server opens besides boards and connections, with room to spare."""


class BadConfig(ValueError):
    """A setting that the server cannot run with. Its text says which and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate chain, its private key, and the CA of client certificates."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """The files that are set."""
        return [self.cert, self.key, *([self.client_ca] if self.client_ca else [])]


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds: `calls` and `held_in_all` for the whole server, all others for each principal.

    `request`, `unread`, `held` and `held_in_all` are in bytes. `boards` is how many boards the
    watches, waits and sessions of one principal may keep open, besides the default board. A
    principal is a token, or the client's host if the server has no tokens.
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


class Setting(NamedTuple):
    """A setting: its help, the metavar of its value, and the least number that it accepts.

    Without `least`, a count must be at least 1.
    """

    help: str
    metavar: str | None = None
    least: float | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """How to serve one directory of boards. Raises BadConfig for settings that cannot work."""

    directory: Annotated[
        Path, Setting("Directory of the board files; created if missing.", "DIR")
    ] = Path("boards")
    board: Annotated[str, Setting("Default board; the name of DIR if this is not set.", "NAME")] = (
        ""
    )
    listen: Annotated[
        tuple[str, ...],
        Setting(
            "Listen on HOST:PORT (port 0 picks a free one) or unix:PATH; may be repeated.", "ADDR"
        ),
    ] = (DEFAULT_LISTEN,)
    insecure: Annotated[
        bool, Setting("Allow unencrypted addresses that other machines can reach.")
    ] = False
    grace: Annotated[
        float, Setting("Grace period for calls in progress at shutdown.", "SECONDS", 0)
    ] = 10.0
    tls_cert: Annotated[
        Path | None,
        Setting("Certificate chain (PEM) for every HOST:PORT; reloaded when it changes.", "FILE"),
    ] = None
    tls_key: Annotated[Path | None, Setting("Private key of the certificate (PEM).", "FILE")] = None
    client_ca: Annotated[
        Path | None,
        Setting("Require client certificates signed by this CA (PEM): mutual TLS.", "FILE"),
    ] = None
    tokens: Annotated[
        Path | None,
        Setting(
            "Require a token of this file, which `board token` writes; reloaded when it changes.",
            "FILE",
        ),
    ] = None
    metrics_listen: Annotated[
        str, Setting("Serve Prometheus metrics over HTTP on HOST:PORT.", "ADDR")
    ] = ""
    log_format: Annotated[
        Literal["console", "json"], Setting("Log as text or as JSON lines.", "console|json")
    ] = "console"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Setting("Minimum level to log; debug logs every call.", "debug|info|warning|error"),
    ] = "info"
    synchronous: Annotated[
        Literal["full", "normal"],
        Setting(
            "full syncs every commit to disk. normal is faster, but a power failure (not a "
            "crash) may lose the last acknowledged writes.",
            "full|normal",
        ),
    ] = "full"
    keep_revisions: Annotated[
        int, Setting("Revisions whose events are kept, for watches to resume from.", "N")
    ] = 100_000
    keep_bytes: Annotated[
        int,
        Setting(
            "Most bytes of events to keep for each board; idempotency keys and their replies "
            "may take half as much again.",
            "BYTES",
            2**20,  # with less, a key could be dropped before its call is retried
        ),
    ] = 256 * 2**20
    engine: Annotated[
        Engine,
        Setting(
            "gRPC's I/O: default uses threads of its own; poller uses one thread and is a little "
            "faster, but every listener must be a Unix socket or require --client-ca.",
            "default|poller",
        ),
    ] = Engine.DEFAULT
    keepalive: Annotated[
        float,
        Setting(
            "Ping a client after this many idle seconds; disconnect it if it does not answer.",
            "SECONDS",
            0.001,  # grpc counts whole milliseconds; 0 of them would mean "never"
        ),
    ] = 30.0
    max_request: Annotated[int, Setting("Size of the largest request.", "BYTES")] = 40 * 2**20
    max_connections: Annotated[int, Setting("Connections to each address.", "N")] = 2_000
    max_calls: Annotated[
        int, Setting("Concurrent calls of all clients, including watches and waits.", "N")
    ] = 50_000
    max_calls_per_connection: Annotated[
        int, Setting("Concurrent calls on one connection; the client queues the rest.", "N")
    ] = 250
    max_watches: Annotated[int, Setting("Watch calls of one token or host.", "N")] = 1_000
    max_waiters: Annotated[int, Setting("WaitFor calls of one token or host.", "N")] = 20_000
    max_snapshots: Annotated[
        int, Setting("Concurrent GetSnapshot calls of one token or host.", "N")
    ] = 64
    max_unread: Annotated[
        int, Setting("Bytes of replies that one token or host has not read yet.", "BYTES")
    ] = 256 * 2**20
    max_held: Annotated[
        int, Setting("Bytes of requests and waits in progress of one token or host.", "BYTES")
    ] = 256 * 2**20
    max_held_in_all: Annotated[
        int, Setting("Bytes of requests, waits and unread replies of all clients.", "BYTES")
    ] = 2**30
    max_sessions: Annotated[int, Setting("Open sessions of one token or host.", "N")] = 10_000
    max_queue: Annotated[int, Setting("Writes that wait for one board's writer.", "N")] = 10_000
    max_boards: Annotated[
        int, Setting("Open boards; to open another, the least recently used is closed.", "N")
    ] = 256

    def __post_init__(self) -> None:
        self._check_board()
        self._check_files()
        self._check_addresses()
        for name, (kind, setting) in annotations().items():
            _check_value(name, getattr(self, name), kind, setting.least)

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
                "listen on a loopback address or a Unix socket, set --tls-cert (which does not "
                "cover the metrics), or set --insecure"
            )

    def _check_engine(self) -> None:
        """Refuse the poller if untrusted clients can connect: one could stop all traffic."""
        if self.engine is not Engine.POLLER or self.client_ca:
            return
        for address in self.listen:
            if not address.startswith("unix:"):
                raise BadConfig(
                    f"--engine poller cannot serve {address}: one connection that floods it stops "
                    "all others; use --engine default, listen only on Unix sockets, or require "
                    "client certificates with --client-ca"
                )

    @property
    def default_board(self) -> str:
        """The board for requests that name none."""
        return self.board or self.directory.resolve().name

    @property
    def tls(self) -> TlsFiles | None:
        """The files of the server's certificate; None if it has none."""
        if self.tls_cert and self.tls_key:
            return TlsFiles(self.tls_cert, self.tls_key, self.client_ca)
        return None

    @property
    def limits(self) -> Limits:
        """The limits on calls, bytes and boards."""
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
        """How many files, including sockets, may be open at the same time."""
        connections = self.max_connections * len(self.listen)
        return connections + FILES_PER_BOARD * self.max_boards + OTHER_FILES

    @property
    def exposed(self) -> list[str]:
        """The addresses that other machines can reach and that are not encrypted."""
        plain = [] if self.tls_cert else list(self.listen)
        plain += [self.metrics_listen] if self.metrics_listen else []
        return [address for address in plain if not is_private(address)]

    @property
    def open_to_all(self) -> list[str]:
        """The addresses where other machines may do everything without a token or certificate."""
        if self.tokens or self.client_ca:
            return []
        return [address for address in self.listen if not is_private(address)]


@cache
def annotations() -> dict[str, tuple[Any, Setting]]:
    """Return the type and the Setting of each field of Config."""
    hints = get_type_hints(Config, include_extras=True)
    return {field.name: get_args(hints[field.name]) for field in fields(Config)}


def _check_value(name: str, value: Any, kind: Any, least: float | None) -> None:
    """Refuse a number or a word that the type of its field does not have."""
    if kind is int:
        low = 1 if least is None else least
        if not low <= value <= MAX_COUNT:
            raise BadConfig(f"{flag(name)} must be {low} to {MAX_COUNT}, not {value}")
    elif kind is float:
        if not (least or 0) <= value <= MAX_SECONDS:
            raise BadConfig(
                f"{flag(name)} must be {least or 0} to {MAX_SECONDS} seconds, not {value:g}"
            )
    elif get_origin(kind) is Literal and value not in get_args(kind):
        raise BadConfig(f'{flag(name)} must be {" or ".join(get_args(kind))}, not "{value}"')


def flag(name: str) -> str:
    """Return the flag of a field, such as `--max-boards`."""
    return f"--{name.replace('_', '-')}"


def _check_socket(address: str) -> None:
    """Refuse an address that names no file, or that grpc's clients would parse differently."""
    given = address.removeprefix("unix:")
    path = unquote(given)  # as grpc does
    if not path:
        raise BadConfig(f'cannot listen on "{address}": the path is empty (an unset variable?)')
    if "\0" in path:
        # An abstract socket: it has no owner and no mode.
        raise BadConfig(f"cannot listen on {address!r}: the path contains a NUL byte")
    if given.startswith("//") and not given.startswith("///"):
        raise BadConfig(
            f'cannot listen on "{address}": a socket has no host; write unix:/{path[2:]}'
        )
    if "?" in given or "#" in given:
        raise BadConfig(f'cannot listen on "{address}": write %3F for "?" and %23 for "#"')


_HOST_PORT = re.compile(r"(?P<host>\[[^][]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")

_NO_HOSTS = {"unix", "unix-abstract", "vsock"}
"""Schemes of grpc's for other kinds of sockets, which --insecure does not cover."""


def _is_port(address: str) -> bool:
    """Return whether it is HOST:PORT; HOST is a name, an IPv4 or a bracketed IPv6 address."""
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
    """Return whether only this machine can reach `HOST:PORT` or `unix:PATH`."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
