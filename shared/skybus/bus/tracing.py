"""Trace context in every message (W3C `traceparent`, https://www.w3.org/TR/trace-context/).

A message carries on the trace of what has caused it. Where a program has set up OpenTelemetry, it records spans;
otherwise only the context is passed on, as the text that it travels as: that takes some microseconds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_HEADER = "traceparent"
_VALID = re.compile(r"00-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("skybus")
_passed_on: ContextVar[str] = ContextVar(_HEADER, default="")
"""The context of what is being done, where nobody records spans."""


@contextmanager
def sending(name: str, headers: dict[str, str]) -> Iterator[None]:
    """Open a client span and write its context into the headers of the message."""
    if not _is_recorded():
        headers[_HEADER] = _below(_passed_on.get())
        yield
        return
    with _tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT):
        _propagator.inject(headers)
        yield


@contextmanager
def receiving(name: str, headers: Mapping[str, str]) -> Iterator[None]:
    """Open a server span below the sender's."""
    if not _is_recorded():
        token = _passed_on.set(_below(headers.get(_HEADER, "")))
        try:
            yield
        finally:
            _passed_on.reset(token)
        return
    with _tracer.start_as_current_span(name, context=_propagator.extract(headers), kind=trace.SpanKind.SERVER):
        yield


def trace_headers() -> dict[str, str]:
    """The context of the current span, as headers."""
    headers: dict[str, str] = {}
    if _is_recorded():
        _propagator.inject(headers)
    elif current := _passed_on.get():
        headers[_HEADER] = current
    return headers


def _is_recorded() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _below(parent: str) -> str:
    """A context in the trace of the parent, or of a new trace if that is none."""
    found = _VALID.fullmatch(parent)
    trace_id, flags = found.groups() if found else (f"{random.getrandbits(128) | 1:032x}", "00")
    return f"00-{trace_id}-{random.getrandbits(64) | 1:016x}-{flags}"
