"""How both clients reach a board: the channels, their options and credentials."""

import asyncio
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import grpc.aio
from google.protobuf.descriptor_pb2 import MethodOptions

from board_client.backoff import ATTEMPTS, ATTEMPTS_BEFORE_FIRST_ANSWER
from board_client.credentials import Credentials, Metadata
from board_client.errors import BadCredentials, ClientClosed
from board_client.target import is_private, is_unix, normalized
from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceStub

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call may take, its retries included."""

MAX_MESSAGE = 64 * 2**20

OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # The clients retry calls themselves: see docs/decisions/0008-retries-of-our-own.md.
    ("grpc.enable_retries", 0),
    # A silent connection is closed after 17 s: a ping after 12 s, the shortest time that
    # servers allow, and 5 s for its answer. (The last option is for the pings by which gRPC
    # measures bandwidth: while one is unanswered, no keepalive ping is sent.)
    ("grpc.keepalive_time_ms", 12_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    # Reconnect soon to a server that restarts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Ignore http_proxy, https_proxy and grpc_proxy: a proxy would read unencrypted tokens, and
    # connect to a loopback address on its own machine.
    ("grpc.enable_http_proxy", 0),
]

# Channels with equal options share a connection; a client's second channel must have its own.
_OPTIONS_OF_SECOND = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]

KEYED = frozenset(
    method.name
    for method in pb.DESCRIPTOR.services_by_name["BoardService"].methods
    if method.GetOptions().idempotency_level == MethodOptions.IDEMPOTENCY_UNKNOWN
)
"""Methods whose calls need an idempotency key to be retried; all others may be repeated as is."""


def metadata(method: str) -> Metadata:
    """Return a call's metadata: for a write an idempotency key, so that it is done once.

    The key begins with the time, so that the board stores recent keys side by side.
    """
    if method not in KEYED:
        return ()
    return (("board-request-id", f"{time.time_ns():x}-{secrets.token_hex(8)}"),)


class Connection:
    """The channels from a client to its server, for all clients that share them.

    The first call opens a channel, and the first call after `switch` a second one.
    `kind` is the module that makes channels, `grpc` or `grpc.aio`. Raises
    BadCredentials, and InvalidArgument for a target that is not valid.
    """

    _asynchronous: ClassVar["weakref.WeakSet[Connection]"] = weakref.WeakSet()
    """Those whose channels are of grpc.aio."""

    _aio_unusable = False
    """Whether this process was forked while such a channel was open.

    The child has no copy of the thread that passes grpc.aio's results on, and shares the socket
    on which that thread wakes the event loop: a call in the child would hang, and the parent's
    calls too.
    """

    def __init__(self, kind: Any, target: str, credentials: Credentials) -> None:
        self.target = normalized(target)
        self.closed = False
        self.current = 0  # index of the channel that calls use
        self._kind = kind
        self._credentials = credentials.checked(self.target)
        self._bearer = credentials.bearer() if credentials.has_token else None
        self._opening = threading.Lock()
        self._channels: list[Any] = []
        self._stubs: list[Any] = []
        self._answered = not is_private(self.target)
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or deep-copied."""
        raise TypeError(
            f"a client of the board at {self.target} cannot be pickled or copied: it has a "
            "connection; make another client with the same target"
        )

    @property
    def attempts(self) -> int:
        """How often a call is sent before the server counts as unavailable."""
        return ATTEMPTS if self._answered else ATTEMPTS_BEFORE_FIRST_ANSWER

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that made the connection."""
        return self._process != os.getpid()

    @property
    def open(self) -> bool:
        """Whether it has a channel."""
        return bool(self._channels)

    def method(self, name: str) -> Any:
        """Return a method of the service.

        Raises ClientClosed, and RuntimeError in a forked process or another event loop.
        """
        if self.closed:
            raise ClientClosed.of(self.target)
        self._check_process_and_loop()
        index, stubs = self.current, self._stubs  # another thread may switch or close meanwhile
        stub = stubs[index] if index < len(stubs) else self._open(index)
        return getattr(stub, name)

    def answered(self) -> None:
        """Note that a server has answered, so that calls are retried for longer from now on."""
        self._answered = True

    def switch(self, index: int) -> None:
        """Use the other channel, which has a connection of its own.

        Do nothing if another call has switched since `index` was current.
        """
        if self.current == index:
            self.current = 1 - index

    def closing(self) -> list[Any]:
        """Refuse calls from now on, and return the channels for the caller to close.

        In a forked process there are none: the channels are the parent's.
        """
        if self.forked:
            self.closed = True
            return []
        if self._channels:
            self._check_process_and_loop()
        with self._opening:
            self.closed = True
            channels, self._channels, self._stubs = self._channels, [], []
            return channels

    @classmethod
    def after_fork(cls) -> None:
        """Note, in a forked process, whether grpc.aio is usable in it."""
        if any(connection.open for connection in cls._asynchronous):
            cls._aio_unusable = True

    def _check_process_and_loop(self) -> None:
        if self._aio_unusable and self._kind is grpc.aio:
            raise RuntimeError(
                "AsyncBoardClient does not work in this process: it was forked while its parent "
                'had one open; start it with the method "spawn" or "forkserver" of '
                "multiprocessing, or use BoardClient in it"
            )
        if self.forked:
            raise RuntimeError(
                f"this client of the board at {self.target} was made before this process was "
                "forked; make another in each process"
            )
        if self._loop and self._loop is not asyncio.get_running_loop():
            raise RuntimeError(
                f"this client of the board at {self.target} is used in another event loop; "
                "make one in each event loop"
            )

    def _open(self, index: int) -> Any:
        """Open the channels up to `index`; return the stub of the one to use.

        That is the first one if the files of the credentials cannot be read now.
        """
        with self._opening:
            if self.closed:
                raise ClientClosed.of(self.target)
            if self._kind is grpc.aio:
                self._loop = asyncio.get_running_loop()
                self._asynchronous.add(self)
            for options in (OPTIONS, _OPTIONS_OF_SECOND)[len(self._channels) : index + 1]:
                try:
                    channel = self._channel(options)
                except BadCredentials:
                    if not self._channels:
                        raise
                    self.current = 0
                    return self._stubs[0]
                self._channels.append(channel)
                with_token: Any = _TokenChannel(channel, self._bearer) if self._bearer else channel
                self._stubs.append(BoardServiceStub(with_token))
            return self._stubs[index]

    def _channel(self, options: list[tuple[str, str | int]]) -> Any:
        if self._credentials.encrypted and not is_unix(self.target):
            encryption = self._credentials.for_channel()
            return self._kind.secure_channel(self.target, encryption, options=options)
        return self._kind.insecure_channel(self.target, options=options)


os.register_at_fork(after_in_child=Connection.after_fork)


class _TokenChannel:
    """A channel for generated stubs that adds the token to each call.

    gRPC's call credentials require TLS even on one machine, and a thread for each call.
    """

    def __init__(self, channel: Any, bearer: Callable[[], Metadata]) -> None:
        self._channel = channel
        self._bearer = bearer

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_token(self._channel.unary_stream(*args, **kwargs))

    def _with_token(self, method: Any) -> Any:
        return _TokenMethod(method, self._bearer)


class _TokenMethod:
    """A method of a stub that adds the token. BoardClient sends its renewals with `future`."""

    def __init__(self, method: Any, bearer: Callable[[], Metadata]) -> None:
        self._method = method
        self._bearer = bearer

    def __call__(self, request: Any, *, metadata: Metadata = (), **kwargs: Any) -> Any:
        return self._method(request, metadata=(*metadata, *self._bearer()), **kwargs)

    def future(self, request: Any, **kwargs: Any) -> Any:
        return self._method.future(request, metadata=self._bearer(), **kwargs)
