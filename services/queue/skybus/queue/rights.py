"""Whether an item that is about to run may be run: rights and lists may have changed since it was queued."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from skybus.bus.api.internal import ITEM_MAY_RUN, ItemMayRun
from skybus.bus.api.items import Item
from skybus.bus.arrivals import Arrivals
from skybus.bus.connection import Bus
from skybus.bus.json_values import write_json

REMEMBERED = 200_000
"""Items whose check is remembered; the others are checked again when they are about to run."""
_NOT_CHECKED = ("item_uid", "result", "properties")
"""What an item is given after its check."""


class Rights:
    """Remembers what was found right with which lists, and asks auth about the rest.

    So auth need not be there for a queue to go on. It is the content that is remembered: an item that is changed is
    another one, a copy that is to be run again is not.

    Args:
        lists_uid: of the lists of allowed plans and devices that hold now.
    """

    def __init__(self, bus: Bus, arrivals: Arrivals, lists_uid: Callable[[], str]) -> None:
        self._bus = bus
        self._arrivals = arrivals
        self._lists_uid = lists_uid
        self._found_right: OrderedDict[bytes, str] = OrderedDict()

    def found_right(self, item: Item, lists_uid: str) -> None:
        """Remember an item that may be run with these lists."""
        content = _content(item)
        self._found_right[content] = lists_uid
        self._found_right.move_to_end(content)
        if len(self._found_right) > REMEMBERED:
            self._found_right.popitem(last=False)

    async def require(self, item: Item) -> None:
        """Let an item pass that may be run now.

        Raises:
            SkybusError: it may not; as auth says.
        """
        if self._found_right.get(_content(item)) != self._lists_uid():
            request = ItemMayRun.model_construct(item=item)
            await self._arrivals.when_there(lambda: self._bus.call(ITEM_MAY_RUN, request))


def _content(item: Item) -> bytes:
    checked = {name: value for name, value in item.items() if name not in _NOT_CHECKED}
    return hashlib.blake2b(write_json(checked), digest_size=16).digest()
