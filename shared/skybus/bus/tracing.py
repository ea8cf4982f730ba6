"""Trace context in every message (W3C `traceparent`, https://www.w3.org/TR/trace-context/).

A message carries on the trace of what has caused it. Where a program has set up OpenTelemetry, it records spans;
otherwise only the context is passed on, which takes some microseconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("skybus")


@contextmanager
def sending(name: str, headers: dict[str, str]) -> Iterator[None]:
    """Open a client span and write its context into the headers of the message."""
    with _span(name, trace.SpanKind.CLIENT, None):
        _propagator.inject(headers)
        yield


@contextmanager
def receiving(name: str, headers: Mapping[str, str] | None) -> Iterator[None]:
    """Open a server span below the sender's."""
    with _span(name, trace.SpanKind.SERVER, _propagator.extract(headers or {})):
        yield


def trace_headers() -> dict[str, str]:
    """The context of the current span, as headers."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers


@contextmanager
def _span(name: str, kind: trace.SpanKind, parent: Context | None) -> Iterator[None]:
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        with _tracer.start_as_current_span(name, context=parent, kind=kind):
            yield
        return
    token = context.attach(trace.set_span_in_context(_unrecorded(parent), parent))
    try:
        yield
    finally:
        context.detach(token)


def _unrecorded(parent: Context | None) -> trace.Span:
    above = trace.get_current_span(parent).get_span_context()
    trace_id = above.trace_id if above.is_valid else random.getrandbits(128) | 1
    ids = trace.SpanContext(trace_id, random.getrandbits(64) | 1, is_remote=False, trace_flags=above.trace_flags)
    return trace.NonRecordingSpan(ids)
