"""serving: a running server, from its first listening port to its last call."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from board_client.v1 import board_pb2_grpc
from board_server.config import Config
from board_server.feed import Feeds
from board_server.interceptors import SERVICE, Handler, intercepted
from board_server.mirrors import Mirrors
from board_server.servicer import BoardServicer
from board_server.store import Store

MAX_MESSAGE = 64 * 2**20

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # Clients look every 20 s whether a quiet server is still there.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # A second server on the same port is a mistake, not a way to share load.
    ("grpc.so_reuseport", 0),
    # Thousands may come at once to wait; gRPC would cancel those behind the first thousand.
    ("grpc.server.max_pending_requests", 50_000),
    ("grpc.server.max_pending_requests_hard_limit", 60_000),
]


class CannotListen(OSError):
    """An address cannot be listened on. Its text says which and why."""


@asynccontextmanager
async def serving(store: Store, config: Config) -> AsyncIterator[list[str]]:
    """Serve the store; yield the addresses, with the ports that were picked.

    At the end health says NOT_SERVING, new calls are refused, those in flight
    have `config.grace` seconds, watches end, and the store is closed. Raises CannotListen.
    """
    server = grpc.aio.server(options=_OPTIONS)
    feeds = Feeds(store)
    mirrors = Mirrors(store, feeds)
    servicer = BoardServicer(store, feeds, mirrors, config.default_board)
    board_pb2_grpc.add_BoardServiceServicer_to_server(servicer, _Registrar(server))  # type: ignore[arg-type]
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection(
        [SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    try:
        await store.open_board(config.default_board)
        addresses = [_listen(server, address) for address in config.listen]
        await server.start()
        for service in ("", SERVICE.full_name):
            await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        yield addresses
    finally:
        await checks.enter_graceful_shutdown()
        feeds.close()
        await server.stop(config.grace)
        await mirrors.close()
        await store.close()


class _Registrar:
    """Stands in for the server where the generated code adds its handlers, to wrap them."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Pass over them: the same come as registered handlers, by name."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        assert service == SERVICE.full_name
        self._server.add_generic_rpc_handlers((intercepted(handlers),))


def _listen(server: grpc.aio.Server, address: str) -> str:
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: {_reason(address)}") from error
    if address.startswith("unix:"):
        return address
    return f"{address.rpartition(':')[0]}:{port}"


def _reason(address: str) -> str:
    """Ask the operating system why; grpc does not tell."""
    try:
        if address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(address.removeprefix("unix:"))
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
