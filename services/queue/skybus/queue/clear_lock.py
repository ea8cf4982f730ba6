"""`python -m skybus.queue.clear_lock`: take the lock away in Redis, whether a queue service runs or not.

One that runs keeps its lock until it is started again, as the reference's manager does; `unlock` is for that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from redis import Redis
from redis.exceptions import RedisError

from skybus.bus.errors import UnavailableError
from skybus.bus.settings import DEFAULT_INSTRUMENT
from skybus.queue.settings import QueueSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Clear the lock; ends with 0 when nothing is locked, with 1 when Redis does not answer."""
    options = _parser().parse_args(arguments)
    try:
        was_locked = clear(options.redis_url or QueueSettings().redis(), options.redis_prefix, options.instrument)
    except (RedisError, OSError, ValueError, UnavailableError) as error:
        sys.exit(f"the lock was not cleared: {error}")
    print("the lock is cleared" if was_locked else "there was no lock")


def clear(url: str, prefix: str, instrument: str) -> bool:
    """Delete the stored lock; returns whether there was one."""
    with Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2) as redis:
        return bool(redis.delete(f"{prefix}:{instrument}:lock"))


def _parser() -> argparse.ArgumentParser:
    settings = QueueSettings()
    parser = argparse.ArgumentParser(prog="skybus.queue.clear_lock", description="Clear the lock in Redis.")
    parser.add_argument("--redis-url", help="redis://, rediss:// or unix://; by default that of the running stack")
    parser.add_argument("--redis-prefix", default=settings.redis_prefix, help="what the names of all keys begin with")
    parser.add_argument("--instrument", default=settings.instrument or DEFAULT_INSTRUMENT)
    return parser


if __name__ == "__main__":
    main()
