"""The line that each command leaves in the log and so in the console: what was done, or what was refused and why.

The table has a row for each endpoint that changes something; one that has none is logged by its name. A line shows
names, uids, positions, the fields that its row lists and why it was refused, and nothing else: no key, no script.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import structlog

from skybus.bus.api.items import Placed
from skybus.bus.endpoints import Endpoint
from skybus.bus.errors import NotSentError, SkybusError, UnavailableError
from skybus.bus.logs import printable
from skybus.bus.messages import Message

log = structlog.get_logger()

LONGEST_NAME, LONGEST_REASON = 100, 400
"""Characters of a text that a user has chosen, and of why something was refused."""
SHORT_UID = 8
"""Characters of a uid: as many as commands take."""
REMEMBERED = 1000
"""Refusals that are known again when the same request is sent once more."""
PART_OF_ANOTHER = ""
"""Such a command is a part of another one, which says when all is done."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """How the line of an endpoint begins, and what it shows."""

    done: str
    """With `{number}` where the number of items belongs."""
    refused: str
    shows: tuple[str, ...] = ()
    """Fields of the request, or else of the reply, that are shown as they are."""


WORDS = {
    "queue.item.add": Words("Item added", "Item not added"),
    "queue.item.add_batch": Words("{number} items added", "Items not added"),
    "queue.item.update": Words("Item updated", "Item not updated", ("replace",)),
    "queue.item.remove": Words("Item removed", "Item not removed"),
    "queue.item.remove_batch": Words("{number} items removed", "Items not removed"),
    "queue.item.move": Words("Item moved", "Item not moved"),
    "queue.item.move_batch": Words("{number} items moved", "Items not moved"),
    "queue.item.execute": Words("Item to be executed at once", "Item not executed"),
    "queue.clear": Words("Queue cleared", "Queue not cleared"),
    "queue.mode_set": Words("Queue mode set", "Queue mode not set", ("loop", "ignore_failures")),
    "queue.start": Words("Queue started", "Queue not started"),
    "queue.stop": Words("Stop of the queue requested", "Stop of the queue refused"),
    "queue.stop_cancel": Words("Stop of the queue cancelled", "Stop of the queue not cancelled"),
    "queue.autostart": Words("Autostart set", "Autostart not set", ("enable",)),
    "history.clear": Words("History cleared", "History not cleared", ("size",)),
    "environment.open": Words("Environment is opening", "Environment is not opened"),
    "environment.close": Words("Environment is closing", "Environment is not closed"),
    "environment.destroy": Words("Environment is being destroyed", "Environment is not destroyed"),
    "environment.update": Words("Environment is being updated", "Environment is not updated", ("run_in_background",)),
    "script.upload": Words(
        "Script uploaded", "Script not uploaded", ("update_lists", "update_re", "run_in_background")
    ),
    "function.execute": Words("Function called", "Function not called", ("run_in_background",)),
    "re.pause": Words("Pause requested", "Pause refused", ("option",)),
    "re.resume": Words("Plan is resuming", "Plan is not resumed"),
    "re.stop": Words("Plan is being stopped", "Plan is not stopped"),
    "re.abort": Words("Plan is being aborted", "Plan is not aborted", ("now", "steps")),
    "re.halt": Words("Plan is being halted", "Plan is not halted"),
    "kernel.interrupt": Words(
        "IPython kernel interrupted", "IPython kernel not interrupted", ("interrupt_task", "interrupt_plan")
    ),
    "lock.set": Words("Lock set", "Lock not set", ("environment", "queue")),
    "lock.release": Words("Lock released", "Lock not released"),
    "permissions.set": Words("Permissions set", "Permissions not set"),
    "permissions.reload": Words(
        "Permissions reloaded", "Permissions not reloaded", ("restore_permissions", "restore_plans_devices")
    ),
    "restore.begin": Words("Restore begun", "Restore not begun", ("replace",)),
    "restore.add": Words(PART_OF_ANOTHER, "Restore cannot go on"),
    "restore.finish": Words(
        "Queue and history restored", "Queue and history not restored", ("items_in_queue", "items_in_history")
    ),
    "manager.stop": Words("Services are stopping", "Services are not stopped", ("option",)),
    "manager.kill": Words("Queue service kills itself", "Queue service is not killed", ("hang",)),
    "manager.test": Words("Manager tested", "Manager not tested", ("test_name",)),
}
"""By the name of the endpoint."""

NOT_CONFIRMED = "Command not confirmed"
_refusals: OrderedDict[str, str] = OrderedDict()
"""Why requests were refused last, by their key, or `NOT_CONFIRMED`."""


def log_done(endpoint: Endpoint[Any, Any], requester: str, request: Message, reply: Message) -> None:
    """Log that a command was carried out."""
    words = words_of(endpoint)
    if words.done != PART_OF_ANOTHER:
        log.info(words.done.format(number=len(getattr(reply, "items", ()))), **_facts(words, requester, request, reply))


def log_refused(
    endpoint: Endpoint[Any, Any], requester: str, request: Message | None, error: SkybusError, key: str = ""
) -> None:
    """Log that a command was refused, or that it is not known whether it was carried out.

    Args:
        endpoint: that was called.
        requester: the verified user, or nothing if nobody could be verified.
        request: nothing if it could not be read.
        error: why not.
        key: of the request; the same request is not logged twice when it is refused for the same reason, or when it is
            not confirmed for any reason.
    """
    reason = printable(" ".join(error.message.split()), LONGEST_REASON)
    is_refused = isinstance(error, NotSentError) or not (
        isinstance(error, UnavailableError) or type(error) is SkybusError
    )
    outcome = reason if is_refused else NOT_CONFIRMED
    if key and _refusals.get(key) == outcome:
        return
    if key:
        _refusals[key] = outcome
        if len(_refusals) > REMEMBERED:
            _refusals.popitem(last=False)
    words = words_of(endpoint)
    facts = {**_facts(words, requester, request, None), "code": error.code, "reason": reason}
    if not is_refused:  # it may have been done, or may be done yet
        log.info(NOT_CONFIRMED, command=endpoint.name, **facts)
    else:
        log.info(words.refused, **facts)


def words_of(endpoint: Endpoint[Any, Any]) -> Words:
    """The row of an endpoint, or one made of its name."""
    return WORDS.get(endpoint.name) or Words(f"{endpoint.name} done", f"{endpoint.name} refused")


def _facts(words: Words, requester: str, request: Message | None, reply: Message | None) -> Facts:
    shown = {name: _field(name, request, reply) for name in words.shows}
    facts = {**_what(request, reply), **_where(request), **shown, **_who(requester, request, reply)}
    return {name: _brief(value) for name, value in facts.items() if value is not None}


def _what(request: Message | None, reply: Message | None) -> Facts:
    """The item, by name and uid, and how long the queue is now."""
    item, spec = getattr(reply, "item", None), getattr(request, "item", None)
    name = item["name"] if item else getattr(spec, "name", None)
    uid = item["item_uid"] if item else getattr(spec, "item_uid", None) or getattr(request, "uid", None)
    task_uid = None if item else getattr(reply, "task_uid", None)
    return {"name": name, "item": _short(uid), "task": _short(task_uid), "qsize": getattr(reply, "qsize", None)}


def _where(request: Message | None) -> Facts:
    """The position in the queue, as it was asked for."""
    places = {name: getattr(request, name, None) for name in ("pos", "pos_dest")}
    beside = {side: _short(getattr(request, f"{side}_uid", None)) for side in ("before", "after")}
    if isinstance(request, Placed) and not any(beside.values()) and places["pos"] is None:
        places["pos"] = "back"
    return {**places, **beside}


def _who(requester: str, request: Message | None, reply: Message | None) -> Facts:
    """The user, and the delegate that has claimed the user; a claim that nobody has accepted is called one."""
    accepted, claimed = _accepted_user(request, reply), getattr(request, "user", None)
    if accepted and accepted != requester:
        return {"user": accepted, "via": requester}
    if reply is None and claimed and claimed != requester:
        return {"user": requester, "claimed_user": claimed}
    return {"user": requester} if requester else {}


def _accepted_user(request: Message | None, reply: Message | None) -> str | None:
    """In whose name auth has let somebody do something."""
    if not hasattr(request, "user"):
        return None
    items = getattr(reply, "items", None) or [getattr(reply, "item", None) or {}]
    return items[0].get("user") or getattr(getattr(reply, "lock_info", None), "user", None)


def _field(name: str, request: Message | None, reply: Message | None) -> Any:
    value = getattr(request, name, None)
    return getattr(reply, name, None) if value is None else value


def _short(uid: str | None) -> str | None:
    return uid[:SHORT_UID] if uid else None


def _brief(value: Any) -> Any:
    return printable(value, LONGEST_NAME) if isinstance(value, str) else value
