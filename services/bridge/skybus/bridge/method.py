"""A method of the 0MQ API: which endpoint it asks, and how the answer becomes the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skybus.bridge.checks import Check, item_problem
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import InvalidError, LockedError, SkybusError

Values = dict[str, Any]

ECHO_ITEM = object()
"""On failure: the item as it was sent, or None."""
ECHO_TASK = object()
"""On failure: the uid or uids of tasks as they were sent, or None."""
QUEUE_SIZE = object()
"""On failure: how long the queue is."""


def _same(params: Mapping[str, Any]) -> Values:
    return dict(params)


@dataclass(frozen=True)
class Method:
    """A method of the 0MQ API."""

    name: str
    endpoint: Endpoint[Any, Any]
    params: tuple[str, ...] = ()
    """The parameters that it takes, named as the endpoint's."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The reply's own fields: its name here, its name in the endpoint's reply."""
    failed: Mapping[str, Any] = field(default_factory=dict)
    """What these fields are when the request is refused, unless the error's details say otherwise."""
    prefix: str = ""
    """Stands before the reason of a refusal."""
    has_bare_refusals: bool = False
    """Only bad parameters and locks get the prefix, what the state forbids does not."""
    is_silent_without_service: bool = False
    """Clients expect no reply, rather than a refusal, when the service is away: they read the reply as a status."""
    names_encoding: bool = False
    """Refusals that speak of JSON, in which all travels on the bus, speak of the encoding of the clients instead."""
    announced: str = ""
    """What the published console says when such a request comes: clients of the reference wait for it."""
    checks: tuple[Check, ...] = ()
    to_request: Callable[[Mapping[str, Any]], Values] = _same
    to_reply: Callable[[Values, Mapping[str, Any]], Values] | None = None
    """Instead of `fields`: from the answer and the parameters."""

    def reply(self, answer: Values, params: Mapping[str, Any]) -> Values:
        """The reply to a request that was carried out."""
        if self.to_reply:
            return self.to_reply(answer, params)
        return {"success": True, "msg": "", **{name: answer[source] for name, source in self.fields.items()}}

    def refusal(self, error: SkybusError, params: Mapping[str, Any]) -> Values:
        """The reply to a request that was refused."""
        if "results" in error.details:
            return {"success": False, "msg": error.message, **self.failed, **_verdicts(error, params)}
        is_bare = self.has_bare_refusals and not isinstance(error, (InvalidError, LockedError))
        fields = {name: self._failed(value, params) for name, value in self.failed.items()}
        fields.update((name, value) for name, value in error.details.items() if name in fields)
        return {"success": False, "msg": error.message if is_bare else self.prefix + error.message, **fields}

    @staticmethod
    def _failed(value: Any, params: Mapping[str, Any]) -> Any:
        if value is ECHO_ITEM:
            return params.get("item")
        return params.get("task_uid") if value is ECHO_TASK else value

    @property
    def needs_queue_size(self) -> bool:
        """Whether a refusal says how long the queue is."""
        return self.failed.get("qsize") is QUEUE_SIZE


def _verdicts(error: SkybusError, params: Mapping[str, Any]) -> Values:
    """The items of a batch that was refused, and what was said of each."""
    items, results = params["items"], error.details["results"]
    return {"items": items, "results": [_verdict(*pair) for pair in zip(items, results, strict=True)]}


def _verdict(item: Any, result: Values) -> Values:
    if result["success"]:
        return result
    return {"success": False, "msg": f"Failed to add a plan: {item_problem(item) or result['msg']}"}
