"""Choose gRPC's I/O engine, before grpc is imported.

gRPC passes each read and write to threads of its event engine. The older poller reads and writes
in the thread that waits for calls, which saves a server with one event loop a thread switch for
each call. But one connection that sends frames without a pause occupies that thread, and delays
all other connections, so it is only for trusted peers (docs/decisions/0009-grpc-engine.md).
`make bench-engine` measures whether it is faster on a machine.
"""

import os
from enum import StrEnum
from importlib.metadata import version

EXPERIMENTS = "-event_engine_listener,-event_engine_client"

TESTED = ("1.85.",)
"""Versions of grpcio that have the poller and were tested with it."""


class Engine(StrEnum):
    """The values of `--engine`."""

    POLLER = "poller"
    DEFAULT = "default"


def choose(engine: Engine) -> None:
    """Make grpc use this engine when it is imported, if its version has it.

    A GRPC_EXPERIMENTS that is already set is not changed.
    """
    if engine is Engine.POLLER and version("grpcio").startswith(TESTED):
        os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
