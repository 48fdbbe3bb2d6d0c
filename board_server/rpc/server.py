"""A running server, from its first listening port to its last call."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from board_server.auth.policy import Policy
from board_server.config.schema import Config
from board_server.rpc.builtin_services import Shutdown, health_handler, reflection_handler
from board_server.rpc.handlers import BoardHandler, Shared
from board_server.rpc.limits import BUILTIN_CALLS, Limiter
from board_server.rpc.listeners import listen
from board_server.rpc.loopback import Loopback
from board_server.rpc.request_timeout import RequestTimeout
from board_server.rpc.revocation import Revocation
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
"""Calls of all connections that gRPC may queue, some 20 KiB each."""

HANDSHAKE = 10_000
"""Milliseconds that a connection has for its handshakes of TLS and HTTP/2."""

CHECK = 1.0
"""Seconds between two checks of the calls in progress."""

SERVICES = [SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME]
"""What reflection lists."""

HEALTHY = ["", SERVICE.full_name]
"""The services whose health is known; "" is the server."""


@asynccontextmanager
async def serving(
    store: Store,
    config: Config,
    metrics: Metrics | None = None,
    traced: Traced | None = None,
) -> AsyncIterator[list[str]]:
    """Serve the store; yield the addresses, with the ports that were picked.

    At shutdown health says NOT_SERVING, new calls are refused, watches end, and so do calls whose
    requests have not arrived; all others in progress have `config.grace` seconds, and the store is
    closed. No session expires while calls that have arrived are unread. Raises CannotListen, and
    BadFile if certificates or tokens cannot be used.
    """
    metrics = metrics or Metrics()
    server = grpc.aio.server(
        options=_options(config),
        # The limiter counts the board's calls; this limit counts the built-in services' too.
        maximum_concurrent_rpcs=(
            config.max_calls + config.max_calls_per_connection + BUILTIN_CALLS
        ),
    )
    hubs = Hubs(store)
    caches = CachePool(store, hubs)
    limiter = Limiter(config.limits)
    request_timeout = RequestTimeout(limiter)
    shutdown = Shutdown()
    listening = ExitStack()
    ending = AsyncExitStack()
    try:
        loopback = await ending.enter_async_context(Loopback())
        store.expire_after(loopback.caught_up)
        policy = Policy(config.tokens, config.default_board, store.get_session)
        policy.warn(certificates=config.client_ca is not None)
        credentials = server_credentials(config.tls) if config.tls else None
        shared = Shared(policy, limiter, request_timeout, Revocation(policy), metrics, traced)
        servicer = BoardServicer(store, hubs, caches, config.default_board)
        server.add_generic_rpc_handlers(
            (
                BoardHandler(servicer, shared),
                health_handler(HEALTHY, limiter, shutdown),
                reflection_handler(SERVICES, policy, limiter, shutdown),
            )
        )
        await store.open_board(config.default_board)
        addresses = [listen(server, address, credentials, listening) for address in config.listen]
        await server.start()
        counted = lambda: limiter.calls, lambda: limiter.held
        with metrics.reading(store.stats, hubs.following, *counted):
            async with _checking_calls(shared):
                yield addresses
    finally:
        shutdown.begin()
        request_timeout.shutdown()
        hubs.shutdown()
        await server.stop(config.grace)
        listening.close()
        await caches.close()
        await hubs.close()
        await store.close()
        await ending.aclose()


@asynccontextmanager
async def _checking_calls(shared: Shared) -> AsyncIterator[None]:
    """Check the calls in progress during an `async with` block, and end those that must end."""

    async def check() -> None:
        while True:
            await asyncio.sleep(CHECK)
            try:
                shared.request_timeout.check()
                await shared.revocation.check()
            except Exception:  # the next checks must still run
                log.exception("cannot check the calls in progress")

    checking = asyncio.create_task(check())
    try:
        yield
    finally:
        checking.cancel()


def _options(config: Config) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_request),
        ("grpc.max_send_message_length", MAX_REPLY),
        # No compression: decompressing a large request would delay all calls.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_concurrent_streams", config.max_calls_per_connection),
        # A client that resets streams must answer a ping each time before it may open more: this
        # slows down a connection that opens and resets streams without a pause.
        ("grpc.http2.ping_on_rst_stream_percent", 100),
        # By default gRPC cancels calls at random once 1,000 are pending, even those of an
        # honest burst.
        ("grpc.server.max_pending_requests", PENDING),
        ("grpc.server.max_pending_requests_hard_limit", PENDING),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE),
        # A client that does not answer a ping is disconnected, whether or not it has calls.
        ("grpc.keepalive_time_ms", int(config.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", int(config.keepalive * 1000)),
        ("grpc.http2.ping_timeout_ms", int(config.keepalive * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients ping a quiet server every 12 s.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        # A second server on the same port is a mistake, not a way to share load.
        ("grpc.so_reuseport", 0),
    ]
