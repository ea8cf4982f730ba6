"""Random commands for the queue service: what hypothesis draws, and what each is to the model and to the service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import strategies as st

from skybus.bus.api import history, queue
from skybus.bus.endpoints import Endpoint
from tests.integration.queue_model import QueueModel

Options = dict[str, Any]
STATUSES = ("completed", "failed", "stopped", "aborted", "halted", "unknown")


class Uid(NamedTuple):
    """An item, named by where it is when the command is done."""

    where: str
    index: int = 0

    def of(self, model: QueueModel) -> str:
        known = {
            "queue": [item["item_uid"] for item in model.queue],
            "history": [item["item_uid"] for item in model.history],
            "running": [model.running["item_uid"]] if model.running else [],
            "gone": model.gone,
        }.get(self.where)
        return known[self.index % len(known)] if known else "nobody"


class Step(NamedTuple):
    """One command of a sequence."""

    name: str
    options: Options = {}

    def resolved(self, model: QueueModel) -> Options:
        """The options with the uids that they stand for now."""
        return {name: _resolved(value, model) for name, value in self.options.items()}


def _resolved(value: Any, model: QueueModel) -> Any:
    if isinstance(value, Uid):
        return value.of(model)
    return [_resolved(one, model) for one in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Command:
    """A request: to which endpoint, what it says there, and what the model does."""

    endpoint: Endpoint[Any, Any]
    model: Callable[[QueueModel, Options], Any]
    fields: Callable[[Options], Options] = dict


def _updating(options: Options) -> Options:
    return {"item": {**options["item"], "item_uid": options["uid"]}, "replace": options["replace"]}


COMMANDS = {
    "add": Command(
        queue.ITEM_ADD,
        lambda model, given: model.add(
            [given["item"]], given.get("pos"), given.get("before_uid"), given.get("after_uid")
        ),
    ),
    "add_batch": Command(
        queue.ITEM_ADD_BATCH,
        lambda model, given: model.add(
            given["items"], given.get("pos"), given.get("before_uid"), given.get("after_uid")
        ),
    ),
    "update": Command(
        queue.ITEM_UPDATE,
        lambda model, given: model.update(given["uid"], given["item"], replace=given["replace"]),
        _updating,
    ),
    "remove": Command(queue.ITEM_REMOVE, lambda model, given: model.remove(given.get("uid"), given.get("pos"))),
    "remove_batch": Command(
        queue.ITEM_REMOVE_BATCH,
        lambda model, given: model.remove_batch(given["uids"], ignore_missing=given["ignore_missing"]),
    ),
    "move": Command(
        queue.ITEM_MOVE,
        lambda model, given: model.move(
            *(given.get(name) for name in ("uid", "pos", "pos_dest", "before_uid", "after_uid"))
        ),
    ),
    "move_batch": Command(
        queue.ITEM_MOVE_BATCH,
        lambda model, given: model.move_batch(
            given["uids"],
            *(given.get(name) for name in ("pos_dest", "before_uid", "after_uid")),
            reorder=given["reorder"],
        ),
    ),
    "clear": Command(queue.QUEUE_CLEAR, lambda model, _: model.clear()),
    "mode_set": Command(queue.QUEUE_MODE_SET, lambda model, given: model.set_mode(given["mode"])),
    "start": Command(queue.QUEUE_START, lambda model, _: model.start()),
    "stop": Command(queue.QUEUE_STOP, lambda model, _: model.stop()),
    "stop_cancel": Command(queue.QUEUE_STOP_CANCEL, lambda model, _: model.cancel_stop()),
    "autostart": Command(queue.QUEUE_AUTOSTART, lambda model, given: model.set_autostart(enable=given["enable"])),
    "execute": Command(queue.ITEM_EXECUTE, lambda model, given: model.execute(given["item"])),
    "history_clear": Command(
        history.HISTORY_CLEAR,
        lambda model, given: model.clear_history(given.get("size"), given.get("item_uid")),
    ),
}
"""The commands that are requests; what else can happen: `end`, `end_again`, `lose`, `open`, `restart`, `repeat`,
`stale` (see test_queue_properties.py)."""


MANY = (*["queue"] * 7, "running", "history", "gone", "nobody")
SOMETIMES_WRONG = (*[1] * 8, 0, 2)
"""How many of several options that exclude each other are given."""


class Dice:
    """Some bytes that hypothesis draws, each a choice: one draw a command is quick and shrinks well."""

    def __init__(self, data: bytes) -> None:
        self._left = iter(data)

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of these; the first if nothing is left to decide by."""
        return choices[next(self._left, 0) % len(choices)]

    def number(self, low: int, high: int) -> int:
        return self.pick(range(low, high + 1))

    def yes(self) -> bool:
        return self.pick((False, True))

    def several(self, one: Callable[[], Any], most: int) -> list[Any]:
        return [one() for _ in range(self.number(0, most))]

    def uid(self) -> Uid:
        return Uid(self.pick(MANY), self.number(0, 7))

    def position(self) -> int | str:
        return self.pick(("front", "back", *range(-7, 8)))

    def plan(self) -> Options:
        return {"item_type": "plan", "name": self.pick(("count", "scan")), "kwargs": {"num": self.number(0, 2)}}

    def item(self) -> Options:
        return self.plan() if self.number(0, 9) < 9 else {"item_type": "instruction", "name": "queue_stop"}

    def one_of(self, **options: Callable[[], Any]) -> Options:
        """One option of several; sometimes none, or two of them."""
        count, first = self.pick(SOMETIMES_WRONG), self.number(0, len(options) - 1)
        names = list(options)[first:] + list(options)[:first]
        return {name: options[name]() for name in names[:count]}

    def place(self) -> Options:
        return self.one_of(pos=self.position, before_uid=self.uid, after_uid=self.uid)


MODES = ({"loop": True}, {"loop": False}, {"ignore_failures": True}, {"ignore_failures": False}, "default")
WRONG_MODES = ({"loop": 1}, {"lop": True})
DRAWN: list[tuple[int, str, Callable[[Dice], Options]]] = [
    (5, "add", lambda dice: {"item": dice.item(), **dice.place()}),
    (3, "add_batch", lambda dice: {"items": dice.several(dice.item, 4), **dice.place()}),
    (3, "update", lambda dice: {"uid": dice.uid(), "item": dice.item(), "replace": dice.yes()}),
    (3, "remove", lambda dice: dice.one_of(uid=dice.uid, pos=dice.position)),
    (2, "remove_batch", lambda dice: {"uids": dice.several(dice.uid, 4), "ignore_missing": dice.yes()}),
    (
        5,
        "move",
        lambda dice: {
            **dice.one_of(uid=dice.uid, pos=dice.position),
            **dice.one_of(pos_dest=dice.position, before_uid=dice.uid, after_uid=dice.uid),
        },
    ),
    (
        4,
        "move_batch",
        lambda dice: {
            **dice.one_of(pos_dest=lambda: dice.pick(("front", "back")), before_uid=dice.uid, after_uid=dice.uid),
            "reorder": dice.yes(),
            "uids": dice.several(dice.uid, 4),
        },
    ),
    (1, "clear", lambda _: {}),
    (2, "mode_set", lambda dice: {"mode": dice.pick((*MODES, *WRONG_MODES))}),
    (5, "start", lambda _: {}),
    (2, "stop", lambda _: {}),
    (1, "stop_cancel", lambda _: {}),
    (2, "autostart", lambda dice: {"enable": dice.yes()}),
    (2, "execute", lambda dice: {"item": dice.item()}),
    (2, "history_clear", lambda dice: dice.one_of(size=lambda: dice.number(0, 4), item_uid=dice.uid)),
    (8, "end", lambda dice: {"status": dice.pick((*["completed"] * 4, *STATUSES))}),
    (1, "end_again", lambda _: {}),
    (1, "lose", lambda _: {}),
    (2, "open", lambda _: {}),
    (2, "restart", lambda _: {}),
    (2, "repeat", lambda _: {}),
    (1, "stale", lambda dice: {"item": dice.plan()}),
]
_BY_WEIGHT = [(name, options) for weight, name, options in DRAWN for _ in range(weight)]


def _step(data: bytes) -> Step:
    dice = Dice(data)
    name, options = dice.pick(_BY_WEIGHT)
    return Step(name, options(dice))


@st.composite
def sequences(draw: st.DrawFn, longest: int) -> list[Step]:
    """A queue with something in it, and up to `longest` commands."""
    size = draw(st.integers(1, longest))
    begin = Dice(draw(st.binary(min_size=9, max_size=9)))
    steps = [_step(draw(st.binary(min_size=14, max_size=14))) for _ in range(size)]
    return [Step("add_batch", {"items": begin.several(begin.plan, 4)}), *steps]
