"""Settings of the queue service."""

from __future__ import annotations

from pydantic import Field, SecretStr

from skybus.bus.settings import BusSettings
from skybus.queue import answer_room, recent
from skybus.queue.escalation import Graces


class QueueSettings(BusSettings):
    """Where the queue is kept."""

    redis_url: str | None = None
    """`redis://`, `rediss://`, `unix://` or `redis+sentinel://`; by default the server that `skybus up` has started."""

    redis_prefix: str = "sky"
    """What the names of all keys begin with."""

    queue_name: str = Field(default="main", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """A second queue service for the same instrument, with another name, waits until this one is gone."""

    standby: bool = False
    """Whether such a second one belongs to the house: then it is missed if none waits."""

    stack_pid: int = 0
    """The process of `skybus up`, which starts us with this set."""

    stack_run: str = ""
    """Another one for each start of `skybus up`: autostart and a pending stop outlive our restarts, not the stack's."""

    emergency_lock_key: SecretStr | None = Field(default=None, min_length=1)
    """Unlocks what is locked with a key that is lost."""

    task_result_retention: int = Field(default=120, ge=1)
    """Seconds that the result of a task is kept."""

    answers_max_bytes: int = Field(default=answer_room.MOST_BYTES, ge=1 << 16)
    """Kept answers in Redis together; the oldest are forgotten before their time when there are more."""

    replay_max_bytes: int = Field(default=recent.MOST_BYTES, ge=1 << 16)
    """Changes of the last minute in memory, which are made again on a Redis that has lost them."""

    jetstream_max_bytes: int | None = None
    """What JetStream may use on the disk, for those who ask how much of it is used; `skybus up` sets it."""

    abort_deferred_pause_grace: float = Field(default=2.0, ge=0)
    """Seconds that a plan which is to be aborted at once has to come to its next checkpoint."""

    abort_immediate_pause_grace: float = Field(default=2.0, ge=0)
    """Seconds that it then has to pause where it is."""

    abort_grace: float = Field(default=10.0, ge=0)
    """Seconds that its clean-up has; then the environment is killed."""

    def abort_graces(self) -> Graces:
        """Step by step."""
        return {
            "deferred_pause": self.abort_deferred_pause_grace,
            "immediate_pause": self.abort_immediate_pause_grace,
            "abort": self.abort_grace,
        }

    def redis(self) -> str:
        """The URL of the server that keeps the queue."""
        return self.redis_url or self.listen().redis
