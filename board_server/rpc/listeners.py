"""Listeners: the addresses that a server listens on."""

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import grpc

from board_server.errors import CannotListen
from board_server.files.identity import Identity, identity, lstat
from board_server.files.lock import FileLock, Taken

LONGEST = 107
"""Bytes of the longest path of a Unix socket on Linux."""


def listen(
    server: grpc.aio.Server,
    address: str,
    credentials: grpc.ServerCredentials | None,
    listening: ExitStack,
) -> str:
    """Make the server listen on an address; return the address with the port that was picked.

    A Unix socket has mode 0600 and is never encrypted; any other address is encrypted
    if there are credentials. Close `listening` after the server has stopped: that removes
    the socket. Raises CannotListen.
    """
    try:
        if address.startswith("unix:"):
            path = Path(os.fsdecode(unquote_to_bytes(os.fsencode(address.removeprefix("unix:")))))
            listening.enter_context(_unix_socket(server, path))
            return address
        if credentials:
            port = server.add_secure_port(address, credentials)
        else:
            port = server.add_insecure_port(address)
    except (OSError, Taken) as error:
        why = error.strerror if isinstance(error, OSError) else f"{error} listens there"
        raise CannotListen(f"cannot listen on {address}: {why}") from error
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: {_reason(address)}") from error
    return f"{address.rpartition(':')[0]}:{port}"


@contextmanager
def _unix_socket(server: grpc.aio.Server, path: Path) -> Iterator[None]:
    """Listen on a Unix socket during a `with` block, holding a lock on a file beside it.

    gRPC would replace the socket of a running server, and at its end remove any file at the
    path. So gRPC binds a socket in a private directory, and the socket is moved from there.
    Raises OSError, RuntimeError and Taken.
    """
    if len(os.fsencode(path)) > LONGEST:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has at most {LONGEST} bytes")
    with FileLock(path.with_name(f"{path.name}.lock")):
        _refuse_used(path)
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as private:
            bound = Path(private, "s")
            server.add_insecure_port(f"unix:{quote(os.fsencode(bound))}")
            bound.chmod(0o600)
            ours = _identity(bound)
            bound.rename(path)
        try:
            yield
        finally:
            if _identity(path) == ours:
                path.unlink()


def _refuse_used(path: Path) -> None:
    """Refuse a path that is in use. A socket that no server listens on may be replaced.

    Raises OSError and Taken.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "a file that is not a socket is there")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # do not wait if its queue is full
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            pass
    raise Taken("another program")


def _identity(path: Path) -> Identity | None:
    found = lstat(path)
    return identity(found) if found else None


def _reason(address: str) -> str:
    """Return the operating system's reason why gRPC could not listen: gRPC gives none."""
    if address.startswith("unix:"):
        return "the path of its directory is too long for a socket"
    host, _, port = address.rpartition(":")
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(where)
    except OSError as error:
        return error.strerror or str(error)
    return "the address was refused"
