"""serving: a running server, from its first listening port to its last call."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from board_client.v1 import board_pb2_grpc
from board_server.auth.policy import Access
from board_server.config.schema import Config
from board_server.rpc import builtin_services
from board_server.rpc.handlers import Handler, Surroundings, intercepted
from board_server.rpc.limits import STANDARD_IN_ALL, Limiter
from board_server.rpc.listeners import listen
from board_server.rpc.loopback import Loopback
from board_server.rpc.request_timeout import Arrivals
from board_server.rpc.revocation import Lasting
from board_server.rpc.servicer import BoardServicer
from board_server.rpc.tls import server_credentials
from board_server.store import Store
from board_server.telemetry.metrics import Metrics
from board_server.telemetry.tracing import Traced
from board_server.watch.cache_pool import CachePool
from board_server.watch.hub import Hubs
from board_server.wire.methods import SERVICE

log = logging.getLogger(__name__)

MAX_REPLY = 64 * 2**20

PENDING = 20_000
"""Calls that grpc may not have begun with, of all connections; they take some 20 KiB each."""

HANDSHAKE = 10_000
"""Milliseconds that a connection has to say who it is and what it speaks."""

LOOK = 1.0
"""Seconds between two looks at the calls that go on."""


@asynccontextmanager
async def serving(
    store: Store,
    config: Config,
    metrics: Metrics | None = None,
    traced: Traced | None = None,
) -> AsyncIterator[list[str]]:
    """Serve the store; yield the addresses, with the ports that were picked.

    At the end health says NOT_SERVING, new calls are refused, those in flight
    have `config.grace` seconds, watches end, and the store is closed. No session
    ends while calls that have arrived are unread. Raises
    CannotListen, and BadFile where certificates or tokens cannot be used.
    """
    metrics = metrics or Metrics()
    server = grpc.aio.server(
        options=_options(config),
        # Our own limit counts the board's calls; this one those of the standard services, too.
        maximum_concurrent_rpcs=(
            config.max_calls + config.max_calls_per_connection + STANDARD_IN_ALL
        ),
    )
    hubs = Hubs(store)
    caches = CachePool(store, hubs)
    limiter = Limiter(config.limits)
    checks = health.aio.HealthServicer()
    listening = ExitStack()
    ending = AsyncExitStack()
    try:
        loopback = await ending.enter_async_context(Loopback())
        store.expire_after(loopback.caught_up)
        access = Access(config.tokens, config.default_board, store.get_session)
        access.warn(certificates=config.client_ca is not None)
        credentials = server_credentials(config.tls) if config.tls else None
        around = Surroundings(access, limiter, Arrivals(limiter), Lasting(access), metrics, traced)
        _add_board(server, BoardServicer(store, hubs, caches, config.default_board), around)
        _add_health(server, checks, limiter)
        _add_reflection(server, access, limiter)
        await store.open_board(config.default_board)
        addresses = [listen(server, address, credentials, listening) for address in config.listen]
        await server.start()
        for service in ("", SERVICE.full_name):
            await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        counted = lambda: limiter.calls, lambda: limiter.held
        with metrics.reading(store.stats, hubs.following, *counted):
            async with _looking_after(around):
                yield addresses
    finally:
        await checks.enter_graceful_shutdown()
        hubs.shutdown()
        await server.stop(config.grace)
        listening.close()
        await caches.close()
        await hubs.close()
        await store.close()
        await ending.aclose()


@asynccontextmanager
async def _looking_after(around: Surroundings) -> AsyncIterator[None]:
    """End the calls that may not go on, for the time of an `async with` block."""

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                around.arrivals.look()
                await around.lasting.look()
            except Exception:  # whatever it is, it must not be the last look
                log.exception("cannot look at the calls that go on")

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


def _options(config: Config) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_request),
        ("grpc.max_send_message_length", MAX_REPLY),
        # Nothing compressed: to unpack a small request into a large one holds everybody up.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_concurrent_streams", config.max_calls_per_connection),
        # Whoever takes streams back has to answer a ping each time before it may open as many
        # again: so does gRPC slow down a connection that opens and resets without a pause.
        ("grpc.http2.ping_on_rst_stream_percent", 100),
        # Where 1,000 calls have not been begun with, grpc would cancel any at random: those of
        # an honest burst, too.
        ("grpc.server.max_pending_requests", PENDING),
        ("grpc.server.max_pending_requests_hard_limit", PENDING),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE),
        # A peer that does not answer a ping is gone, whether or not it has calls.
        ("grpc.keepalive_time_ms", int(config.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", int(config.keepalive * 1000)),
        ("grpc.http2.ping_timeout_ms", int(config.keepalive * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients look every 20 s whether a quiet server is still there.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        # A second server on the same port is a mistake, not a way to share load.
        ("grpc.so_reuseport", 0),
    ]


class _Registrar:
    """Stands in for the server where generated code adds its handlers, to wrap them."""

    def __init__(
        self,
        server: grpc.aio.Server,
        wrap: Callable[[dict[str, Handler]], grpc.GenericRpcHandler],
    ) -> None:
        self._server = server
        self._wrap = wrap

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Pass over them: the same come as registered handlers, by name."""

    def add_registered_method_handlers(self, _service: str, handlers: dict[str, Handler]) -> None:
        self._server.add_generic_rpc_handlers((self._wrap(handlers),))


def _add_board(server: grpc.aio.Server, servicer: BoardServicer, around: Surroundings) -> None:
    """Answer the board's calls, with all that surrounds them."""
    registrar = _Registrar(server, lambda handlers: intercepted(handlers, around))
    board_pb2_grpc.add_BoardServiceServicer_to_server(servicer, registrar)  # type: ignore[arg-type]


def _add_health(
    server: grpc.aio.Server, checks: health.aio.HealthServicer, limiter: Limiter
) -> None:
    """Tell everybody whether the server serves."""
    registrar = _Registrar(
        server,
        lambda handlers: builtin_services.for_everyone(health.SERVICE_NAME, handlers, limiter),
    )
    health_pb2_grpc.add_HealthServicer_to_server(checks, registrar)  # type: ignore[arg-type]


def _add_reflection(server: grpc.aio.Server, access: Access, limiter: Limiter) -> None:
    """Tell what the services look like, to those who may know."""
    services = [SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME]
    registrar = _Registrar(
        server,
        lambda handlers: builtin_services.for_readers(
            reflection.SERVICE_NAME, handlers, access, limiter
        ),
    )
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
        reflection.aio.ReflectionServicer(services), registrar
    )
