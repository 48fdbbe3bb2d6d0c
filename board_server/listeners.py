"""Listeners: the addresses that a server is reached at, each as safe as it can be."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import grpc

from board_server.errors import CannotListen


def listen(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None
) -> str:
    """Let the server listen on an address; return it with the port that was picked.

    A Unix socket is for its owner alone and never encrypted; any other address
    is encrypted where there are credentials. Raises CannotListen.
    """
    try:
        if address.startswith("unix:"):
            with _private_files():
                server.add_insecure_port(address)
            return address
        if credentials:
            port = server.add_secure_port(address, credentials)
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: {_reason(address)}") from error
    return f"{address.rpartition(':')[0]}:{port}"


@contextmanager
def _private_files() -> Iterator[None]:
    """Make the files of a `with` block with mode 0600; a chmod afterwards would come too late."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def _reason(address: str) -> str:
    """Ask the operating system why; grpc does not tell."""
    try:
        if address.startswith("unix:"):
            path = Path(unquote(address.removeprefix("unix:")))
            if path.exists() and not path.is_socket():
                return "a file that is no socket is there"
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(str(path))
        else:
            host, _, port = address.rpartition(":")
            for family, kind, protocol, _, where in socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM
            ):
                with socket.socket(family, kind, protocol) as probe:
                    probe.bind(where)
    except OSError as error:
        return error.strerror or str(error)
    return "the address was refused"
