"""Trace context in every message (W3C `traceparent`); spans are made here and exported where a site asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

_tracer = trace.get_tracer("skybus")


def start_tracing(service: str) -> None:
    """Make spans of this process carry the name of its service."""
    trace.set_tracer_provider(TracerProvider(resource=Resource({"service.name": service})))


@contextmanager
def sending(name: str, headers: dict[str, str]) -> Iterator[None]:
    """Open a client span and write its context into the headers of the message."""
    with _tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT):
        propagate.inject(headers)
        yield


@contextmanager
def receiving(name: str, headers: Mapping[str, str] | None) -> Iterator[None]:
    """Open a server span below the sender's."""
    context = propagate.extract(headers or {})
    with _tracer.start_as_current_span(name, context=context, kind=trace.SpanKind.SERVER):
        yield


def trace_headers() -> dict[str, str]:
    """The context of the current span, as headers."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers
