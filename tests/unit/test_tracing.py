"""Trace context goes with every message, whether or not anybody records spans."""

from skybus.bus.tracing import receiving, sending, trace_headers


def test_what_a_message_causes_belongs_to_its_trace() -> None:
    first: dict[str, str] = {}
    with sending("queue.item.add", first):
        pass
    with receiving("queue.item.add", first):
        caused = trace_headers()
        second: dict[str, str] = {}
        with sending("auth.check", second):
            pass
    traces = [headers["traceparent"].split("-")[1] for headers in (first, caused, second)]
    spans = [headers["traceparent"].split("-")[2] for headers in (first, caused, second)]
    assert len(set(traces)) == 1
    assert len(set(spans)) == 3
    assert trace_headers() == {}


def test_a_message_without_context_begins_a_trace() -> None:
    with receiving("status.get", {"traceparent": "garbage"}):
        assert trace_headers()["traceparent"].count("-") == 3
