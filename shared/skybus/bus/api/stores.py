"""What is kept, and how much of the room for it is used."""

from __future__ import annotations

from skybus.bus.endpoints import Endpoint
from skybus.bus.messages import Empty, Message


class StoreUse(Message):
    """One thing that is kept."""

    name: str
    used: int
    """Bytes."""
    limit: int | None = None
    """Bytes; nothing if nobody has set a limit."""
    setting: str = ""
    """The environment variable that sets the limit; empty if it is fixed."""
    drops_oldest: bool = False
    """Whether a full store drops what is oldest, and never refuses."""

    @property
    def is_nearly_full(self) -> bool:
        """Whether it may soon refuse what is new."""
        return not self.drops_oldest and bool(self.limit) and self.used > 0.9 * (self.limit or 0)


class Stores(Message):
    """Everything that is kept, as far as it can be read."""

    stores: list[StoreUse]


STORES_GET = Endpoint("stores.get", Empty, Stores)
