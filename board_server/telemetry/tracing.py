"""Traces: a span per call, if the standard OTEL_* variables enable them.

The library's own interceptor is not used: it supports streams only as generators, and creates a
task for each call.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

import grpc

from board_server.call_context import Call
from board_server.errors import CannotTrace
from board_server.wire.statuses import code_of

Answer = Callable[[Call, Any], Awaitable[Any]]
"""Answers a call, given its context."""

Traced = Callable[[str, Answer], Answer]
"""Wraps the function that answers the calls of a method in a span."""

SERVICE = "board.v1.BoardService"

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def enabled() -> bool:
    """Return whether the environment enables traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "")
    return exporter != "none" and bool(exporter or any(map(os.environ.get, _ENDPOINTS)))


@contextmanager
def tracing() -> Iterator[Traced | None]:
    """Export spans during a `with` block; yield None if traces are not enabled.

    Raises CannotTrace if the packages are missing.
    """
    if not enabled():
        yield None
        return
    try:
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise CannotTrace(
            "the environment (OTEL_*) enables traces, which need pip install 'quasar-board[otel]'"
        ) from error
    provider = TracerProvider()  # reads OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and others
    provider.add_span_processor(BatchSpanProcessor(_exporter()))
    try:
        yield _traced(provider.get_tracer("board_server"))
    finally:
        provider.shutdown()


def _exporter() -> Any:
    """Find the exporter that the environment names among those of the SDK."""
    name = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if name == "otlp":
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
        )
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = tuple(entry_points(group="opentelemetry_traces_exporter", name=name))
    if not found:
        raise CannotTrace(f'no installed package exports traces to "{name}" (OTEL_TRACES_EXPORTER)')
    return found[0].load()()


def _traced(tracer: Any) -> Traced:
    from opentelemetry import propagate, trace  # noqa: PLC0415  an extra

    def traced(name: str, answer: Answer) -> Answer:
        attributes = {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": name}

        async def in_span(call: Call, context: Any) -> Any:
            carrier = {key: value for key, value in call.metadata if isinstance(value, str)}
            with tracer.start_as_current_span(
                f"{SERVICE}/{name}",
                context=propagate.extract(carrier),
                kind=trace.SpanKind.SERVER,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                code = grpc.StatusCode.OK
                try:
                    return await answer(call, context)
                except BaseException as error:
                    code = code_of(error)
                    raise
                finally:
                    span.set_attribute("rpc.grpc.status_code", code.value[0])
                    if code in _FAULTS:
                        span.set_status(trace.StatusCode.ERROR)

        return in_span

    return traced


_FAULTS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
"""The codes that OpenTelemetry's conventions count as errors of a server."""
