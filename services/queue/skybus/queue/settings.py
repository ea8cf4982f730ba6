"""Settings of the queue service."""

from __future__ import annotations

from skybus.bus.settings import BusSettings


class QueueSettings(BusSettings):
    """Where the queue is kept."""

    redis_url: str | None = None
    """`redis://`, `rediss://` or `unix://`; by default the server that `skybus up` has started."""

    redis_prefix: str = "sky"
    """What the names of all keys begin with."""

    stack_pid: int = 0
    """The process of `skybus up`, which starts us with this set."""

    def redis(self) -> str:
        """The URL of the server that keeps the queue."""
        return self.redis_url or self.listen().redis
