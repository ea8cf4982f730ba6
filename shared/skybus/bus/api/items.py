"""Queue items as clients submit them, and where in the queue they go."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from skybus.bus.messages import Request

Item = dict[str, Any]
"""An item as the queue keeps it, in the reference's format: `item_type`, `name`, `args`, `kwargs`, `meta`, `item_uid`,
`user`, `user_group`; one in history has also `result`. One whose user nobody has verified has also `via`, the name of
the delegate that has claimed the user: `bridge`."""

LEFT_OUT = "left_out"
"""In an item of a page that was asked for with `max_item_bytes`: the fields that are left out, being larger."""

PLAN, INSTRUCTION = "plan", "instruction"
QUEUE_STOP = "queue_stop"
"""The one instruction: end the execution of the queue here."""


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("only printable characters are possible in a name")
    return name


PersonName = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
"""The name of a user or a group."""


class ItemSpec(Request):
    """An item as a client writes it.

    Fields that an item in the queue or in history has besides these are dropped, so that such an item can be submitted
    again as it is.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    item_type: Literal["plan", "instruction"]
    name: str = Field(min_length=1, max_length=256)
    """The name of a plan, or `queue_stop`."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    meta: dict[str, Any] | list[dict[str, Any]] = {}
    """Metadata for the start document of each run; of a list, the first entry with a key wins."""
    item_uid: str | None = Field(default=None, min_length=1, max_length=128)

    @model_validator(mode="before")
    @classmethod
    def _is_whole(cls, item: Any) -> Any:
        if isinstance(item, dict) and item.get(LEFT_OUT):
            raise ValueError(f"this item comes from a page without its {item[LEFT_OUT]}: read it with queue.item.get")
        return item

    def to_item(self) -> Item:
        """The fields that the client has set."""
        return self.model_dump(exclude_unset=True, exclude={"item_uid"})


class ByClaim(Request):
    """A request made for somebody whose name nobody has verified.

    Only a listed delegate (the 0MQ bridge) may claim; for everybody else the two fields are ignored, since the
    connection says who they are.
    """

    user: PersonName | None = None
    user_group: PersonName | None = None


class QueueChange(Request):
    """A change of the queue."""

    expected_queue_uid: str | None = None
    """Refuse with `conflict` if the queue is no longer the one that the caller has seen."""
    lock_key: str | None = None
    """The key of the lock on the queue, if there is one."""


class Placed(QueueChange):
    """A change that puts items somewhere: `pos`, `before_uid` or `after_uid`, by default the back."""

    pos: int | str | None = None
    """A position in the queue, `front` or `back`; a negative number counts from the back. Another word is refused when
    the item is known, so that the refusal can show it."""
    before_uid: str | None = None
    after_uid: str | None = None
