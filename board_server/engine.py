"""Which of gRPC's engines carries the bytes; chosen before grpc is imported.

gRPC hands each read and write to threads of its event engine. The engine before
it does them in the thread that waits for calls anyway, which spares a server of
one event loop a change of threads for each call. `make bench-engine` tells whether
that is faster where you are; docs/performance.md says what is known.
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

    Whoever has set GRPC_EXPERIMENTS has chosen already.
    """
    if engine is Engine.POLLER and version("grpcio").startswith(TRIED):
        os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
