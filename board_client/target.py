"""Targets: the address of a server, as callers write it."""

import ipaddress
import re
from urllib.parse import unquote_to_bytes

from board_client import arguments
from board_client.errors import InvalidArgument

DEFAULT_PORT = 7447
DEFAULT_TARGET = f"127.0.0.1:{DEFAULT_PORT}"

LONGEST_PATH = 107
"""Bytes of the longest path of a Unix socket, on Linux."""

_MAX_PORT = 65535

_UNIX = ("unix:", "unix-abstract:")
_NO_SOCKET = frozenset({"unix:", "unix://", "unix-abstract:"})
_SCHEME = re.compile(r"dns:(?://[^/]*/)?|ipv[46]:")
_ADDRESS = re.compile(r"(?P<host>\[[^][/]+\]|[^][:/\s]+)(?::(?P<port>[0-9]{1,5}))?")


def normalized(target: str) -> str:
    """Return a target with its port: `HOST` and `[IPV6]` get DEFAULT_PORT.

    Raises InvalidArgument for a target that is neither HOST:PORT nor unix:PATH.
    """
    if arguments.text("target", target).startswith(_UNIX):
        if target in _NO_SOCKET:
            raise _refused(target, "must be HOST:PORT or unix:PATH")
        if len(unquote_to_bytes(socket_path_of(target))) > LONGEST_PATH:
            raise _refused(target, f"has a path of more than {LONGEST_PATH} bytes")
        return target
    found = _SCHEME.match(target)
    scheme = found[0] if found else ""
    addresses = target.removeprefix(scheme).split(",")
    if len(addresses) > 1 and not scheme.startswith("ipv"):
        raise _refused(target, "must be one HOST:PORT or unix:PATH")
    return scheme + ",".join(_with_port(target, address) for address in addresses)


def is_unix(target: str) -> bool:
    """Return whether a target is a Unix socket."""
    return target.startswith(_UNIX)


def is_private(target: str) -> bool:
    """Return whether a target is certainly on this machine."""
    if is_unix(target):
        return True
    host = address_of(target)[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_of(target: str) -> tuple[str, int]:
    """Return the host and port of a normalized target that is not a Unix socket."""
    host, _, port = _SCHEME.sub("", target, count=1).rpartition(":")
    return host.strip("[]"), int(port)


def socket_path_of(target: str) -> str:
    """Return the path of a Unix socket; the path of an abstract one begins with NUL."""
    if target.startswith("unix-abstract:"):
        return "\0" + target.removeprefix("unix-abstract:")
    return re.sub("^unix:(?://)?", "", target)


def _with_port(target: str, address: str) -> str:
    if _is_ipv6(address):
        return f"[{address}]:{DEFAULT_PORT}"
    found = _ADDRESS.fullmatch(address)
    if not found or int(found["port"] or 0) > _MAX_PORT:
        raise _refused(target, "must be HOST:PORT or unix:PATH")
    try:
        found["host"].strip("[]").encode("idna")  # as resolvers do
    except UnicodeError as error:
        raise _refused(target, f"has a host that is not valid: {error}") from None
    return f"{found['host']}:{found['port'] or DEFAULT_PORT}"


def _is_ipv6(address: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(address), ipaddress.IPv6Address)
    except ValueError:
        return False


def _refused(target: str, why: str) -> InvalidArgument:
    return InvalidArgument.of("target", f'"{target}" {why}')
