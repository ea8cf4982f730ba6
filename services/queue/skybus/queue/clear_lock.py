"""`python -m skybus.queue.clear_lock`: take the lock away in Redis, whether a queue service runs or not.

One that runs keeps its lock until it is started again, as the reference's manager does; `unlock` is for that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from redis.exceptions import RedisError

from skybus.bus.errors import SkybusError
from skybus.bus.settings import DEFAULT_INSTRUMENT
from skybus.queue.redis_address import connect, copies_behind
from skybus.queue.replicated import Script
from skybus.queue.settings import QueueSettings

_DELETE = "return redis.call('DEL', KEYS[1] .. 'lock')"


def main(arguments: Sequence[str] | None = None) -> None:
    """Clear the lock; ends with 0 when nothing is locked, with 1 when Redis does not answer."""
    options = _parser().parse_args(arguments)
    try:
        was_locked = clear(options.redis_url or QueueSettings().redis(), options.redis_prefix, options.instrument)
    except (RedisError, OSError, ValueError, SkybusError) as error:
        sys.exit(f"the lock was not cleared: {error}")
    print("the lock is cleared" if was_locked else "there was no lock")


def clear(url: str, prefix: str, instrument: str) -> bool:
    """Delete the stored lock; returns whether there was one."""
    return asyncio.run(_clear(url, f"{prefix}:{instrument}:"))


async def _clear(url: str, keys: str) -> bool:
    async with connect(url) as redis:
        return bool(await Script(redis, _DELETE, copies_behind(url))(keys))


def _parser() -> argparse.ArgumentParser:
    settings = QueueSettings()
    parser = argparse.ArgumentParser(prog="skybus.queue.clear_lock", description="Clear the lock in Redis.")
    parser.add_argument(
        "--redis-url", help="redis://, rediss://, unix:// or redis+sentinel://; by default that of the running stack"
    )
    parser.add_argument("--redis-prefix", default=settings.redis_prefix, help="what the names of all keys begin with")
    parser.add_argument("--instrument", default=settings.instrument or DEFAULT_INSTRUMENT)
    return parser


if __name__ == "__main__":
    main()
