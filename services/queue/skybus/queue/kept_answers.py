"""An answer as Redis keeps it: with what cannot be made again, such as uids, and without what the request repeats.

A kept answer is the digest of its request and then JSON. Without JSON the request was begun, and how it ended is not
written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skybus.bus.api.items import LEFT_OUT, Item, ItemSpec
from skybus.bus.api.queue import BatchAdded, ItemAdd, ItemAddBatch, ItemExecute, ItemUpdate, ItemVerdict
from skybus.bus.api.tasks import FunctionExecute
from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Message, decode, encode
from skybus.bus.same_request import DIGEST, require_same
from skybus.queue.excerpts import excerpt
from skybus.queue.line import Line

LONGEST_FIELD = 1000
"""Bytes of a field of an item that the request does not repeat: of a longer one only the name is kept."""
LARGE = 65_536
"""Bytes; of a larger answer the items keep no more than their names and uids."""
_UNKNOWN = "-" * DIGEST
_SPECIFIED = tuple(name for name in ItemSpec.model_fields if name != "item_uid")
"""Fields of an item that are as in the request."""
_NAMES = ("item_type", "name", "item_uid")


@dataclass(frozen=True)
class Asked:
    """A request that is done once."""

    key: str
    """Under what its answer is kept."""
    endpoint: Endpoint[Any, Any]
    request: Message | None = None
    digest: str = ""
    """Of its body."""

    def begun(self) -> bytes:
        """What is kept before the request is carried out."""
        return (self.digest or _UNKNOWN).encode()

    def kept(self, answer: Message) -> bytes:
        """What is kept of an answer."""
        return self.begun() + encode(_slim(answer, _given(self.request)))

    def answer(self, kept: bytes) -> Message | None:
        """Restore the answer from what was kept; return nothing if the request was only begun.

        Raises:
            ConflictError: it is the answer to another request.
        """
        digest, body = _parts(kept)
        require_same(self.endpoint, self.digest, digest)
        return _whole(decode(self.endpoint.reply, body), _given(self.request)) if body else None


def lacks_parts(answer: Message) -> bool:
    """Whether items of an answer are without parts that were not kept."""
    return any(LEFT_OUT in item for item in _items(answer))


def filled(answer: Message, line: Line) -> Message:
    """The answer with those items whole that are in the queue."""
    items = [
        line.item(item["item_uid"]) if LEFT_OUT in item and item["item_uid"] in line else item
        for item in _items(answer)
    ]
    return _with_items(answer, items)


def _parts(kept: bytes) -> tuple[str, bytes]:
    if not kept or kept.startswith(b"{"):  # from a version that kept no digests
        return "", kept
    digest = kept[:DIGEST].decode()
    return "" if digest == _UNKNOWN else digest, kept[DIGEST:]


def _given(request: Message | None) -> list[Item]:
    """The items that a request brings."""
    match request:
        case ItemAdd() | ItemUpdate() | ItemExecute() | FunctionExecute():
            return [request.item.to_item()]
        case ItemAddBatch():
            return [raw for raw in request.items if isinstance(raw, dict)]
    return []


def _slim(answer: Message, given: Sequence[Item]) -> Message:
    items = _items(answer)
    if len(given) == len(items):
        slim = [_beside(item, raw) for item, raw in zip(items, given, strict=True)]
    else:
        slim = [excerpt(item, LONGEST_FIELD, tuple(item)) for item in items]
    kept = _with_items(answer, slim)
    if len(given) != len(items) and len(encode(kept)) > LARGE:
        kept = _with_items(answer, [_named(item) for item in items])
    return kept.model_copy(update={"results": []}) if isinstance(kept, BatchAdded) else kept


def _whole(kept: Message, given: Sequence[Item]) -> Message:
    items = _items(kept)
    if len(given) == len(items):
        items = [{**_specified(raw), **item} for item, raw in zip(items, given, strict=True)]
    answer = _with_items(kept, items)
    if isinstance(answer, BatchAdded):
        return answer.model_copy(update={"results": [ItemVerdict(success=True)] * len(items)})
    return answer


def _items(answer: Message) -> list[Item]:
    item = getattr(answer, "item", None)
    return [item] if isinstance(item, dict) else getattr(answer, "items", [])


def _with_items(answer: Message, items: list[Item]) -> Message:
    if hasattr(answer, "items"):
        return answer.model_copy(update={"items": items})
    return answer.model_copy(update={"item": items[0]}) if items else answer


def _specified(raw: Item) -> Item:
    return {name: raw[name] for name in _SPECIFIED if name in raw}


def _beside(item: Item, raw: Item) -> Item:
    """What an item has besides what the request says."""
    return {name: value for name, value in item.items() if name not in _SPECIFIED or name not in raw}


def _named(item: Item) -> Item:
    names = {name: item[name] for name in _NAMES if name in item}
    return {**names, LEFT_OUT: [name for name in item if name not in names]}
