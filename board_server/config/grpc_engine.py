"""Which of gRPC's engines carries the bytes; chosen before grpc is imported.

gRPC hands each read and write to threads of its event engine. The engine before
it does them in the thread that waits for calls, which spares a server of one
event loop a change of threads for each call. In return one connection that sends
frames without a pause keeps that thread, and with it every other connection, so
that it is only for peers that are trusted (docs/decisions/0009-grpc-engine.md).
`make bench-engine` measures whether it is faster on a given machine.
"""

import os
from enum import StrEnum
from importlib.metadata import version

EXPERIMENTS = "-event_engine_listener,-event_engine_client"

TRIED = ("1.85.",)
"""Versions of grpcio that have the engine before and were tested with it."""


class Engine(StrEnum):
    """What `--engine` takes."""

    POLLER = "poller"
    DEFAULT = "default"


def choose(engine: Engine) -> None:
    """Have grpc, when it is imported, use this engine, where its version has it.

    A GRPC_EXPERIMENTS that is set already is left as it is.
    """
    if engine is Engine.POLLER and version("grpcio").startswith(TRIED):
        os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
