"""Logs: a line per event on standard error, as text or JSON, with the call that it belongs to."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from board_server.call_context import CURRENT

Format = Literal["console", "json"]


def configure(log_format: Format, level: str) -> None:
    """Write everything that this process logs to standard error, in one format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                _name_call,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(log_format),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # The debug logs of libraries are about their internals.
    for library in ("asyncio", "grpc", "opentelemetry", "urllib3"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_drop_disconnects)


def _drop_disconnects(record: logging.LogRecord) -> bool:
    """Drop the tracebacks that grpc logs for replies to clients that have disconnected."""
    import grpc  # noqa: PLC0415  after its engine is chosen

    return not (record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError))


def _rendering(log_format: Format) -> list[structlog.typing.Processor]:
    # Neither format has the values of local variables, which may be confidential.
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    colors = sys.stderr.isatty()
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _name_call(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the current call to a log line."""
    call = CURRENT.get()
    if call:
        event.setdefault("method", call.method)
        event.setdefault("request_id", call.request_id)
        if call.principal and call.principal.name:
            event.setdefault("caller", call.principal.name)
    return event
